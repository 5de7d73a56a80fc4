"""PVT: a pyramid without convolutions over neighbours, whose attention reads fewer keys than it has queries.

Source: Wang et al. 2021, arXiv:2102.12122, sec. 3 and table 1; its code github.com/whai362/PVT,
classification/pvt.py. Parameters with a classifier of 1000 and 1e9 multiply-adds at 224 px:

    tiny  13,228,776  1.9    small  24,485,352  3.8    medium  44,207,592  6.7    large  61,368,808  9.8

which is 512 fewer than published: the vector of the class token holds its position too.
"""

from types import MappingProxyType

from unimodal.block import Block
from unimodal.downsampling import Downsampling
from unimodal.drop_path import ramp
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import image_pyramid
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.prepared import Prepared
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.spatial_reduction import spatial_reduction
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

__all__ = ["pvt"]

_DEPTHS = MappingProxyType(
    {"tiny": (2, 2, 2, 2), "small": (3, 4, 6, 3), "medium": (3, 4, 18, 3), "large": (3, 8, 27, 3)}
)
# width, heads, hidden width of the feed-forward over the width, reduction, side of the patch
_STAGES = ((64, 1, 8.0, 8, 4), (128, 2, 8.0, 4, 2), (320, 5, 4.0, 2, 2), (512, 8, 4.0, 1, 2))


def pvt(
    size: str = "tiny",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    depths: tuple[int, ...] | None = None,
    stages: tuple[tuple[int, int, float, int, int], ...] = _STAGES,
    activation: str = "gelu",
    bias: bool = True,
    norm: Part = Part(LayerNorm),
    reduced_norm: Part = Part(LayerNorm, eps=1e-5),
) -> Part:
    """A Model part for pictures of any size from 32 px on; the last stage's tokens have a class token in front.

    Each stage has its own table of positions, resampled bilinearly for another size of picture than ``image``.

    Args:
        size: tiny, small, medium or large.
        image: Side of the pictures that the tables are for, in px.
        classes: Outputs of a classifier on the class token, or None for that token, both behind a norm.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        depths: Blocks of each stage, instead of the size's.
        stages: Width, heads, feed-forward ratio, reduction and patch of each stage.
        activation: Of the feed-forwards.
        bias: Whether queries, keys and values have a bias.
        norm: In the blocks and behind the last one.
        reduced_norm: Behind each convolution that makes fewer tokens.

    Raises:
        ValueError: an unknown size; other than as many depths as stages; an image that is no multiple of the product
            of the patches.
    """
    if size not in _DEPTHS:
        raise ValueError(f"size must be one of {', '.join(_DEPTHS)}, not {size!r}")
    depths = _DEPTHS[size] if depths is None else depths
    if len(depths) != len(stages):
        raise ValueError(f"{len(stages)} stages need as many depths, not {depths}")
    made, between, cells = [], [], image
    for i, ((width, heads, ratio, reduction, patch), rates) in enumerate(
        zip(stages, ramp(depths, drop_path), strict=True)
    ):
        if cells < patch or cells % patch:
            raise ValueError(f"image must be a multiple of the patches' product, not {image} px")
        cells, last = cells // patch, i == len(stages) - 1
        mixer = spatial_reduction(width, heads=heads, reduction=reduction, bias=bias, norm=reduced_norm)
        block = Part(Block, mixer=mixer, ffn=Part(Plain, ratio=ratio, activation=activation), norm=norm)
        blocks = tuple(block.replace(drop_path=rate) for rate in rates) if drop_path else block
        core = Part(Transformer, depth=len(rates), blocks=blocks, norm=norm if last else None)
        position = Part(Learned, grid=(cells, cells), antialias=False, kernel="bilinear")
        made.append(Part(Prepared, core=core, position=position, prefix=int(last)))
        shrink = Part(Downsampling, width=width, kernel=patch, stride=patch, padding=0, behind=reduced_norm)
        between += [shrink] if i else []
    return image_pyramid(
        stages[0][0],
        stem=Part(PatchStem, patch=stages[0][4]),
        norm=reduced_norm,
        stages=tuple(made),
        between=tuple(between),
        image=image,
        readout=Part(Head, pool=Part(ClassToken), width=classes),
    )
