"""PVTv2: a pyramid whose patches overlap and whose feed-forwards look around, so that it needs no positions.

Source: Wang et al. 2021, arXiv:2106.13797, sec. 3 and table 1; its code github.com/whai362/PVT,
classification/pvt_v2.py. Parameters with a classifier of 1000 and 1e9 multiply-adds at 224 px:

    b0   3,666,760  0.6    b1  14,009,000  2.1    b2  25,362,856   4.0    b2_li  22,553,512  3.9
    b3  45,238,696  6.9    b4  62,556,072 10.1    b5  81,956,008  11.8
"""

from types import MappingProxyType

from unimodal.block import Block
from unimodal.chain import Chain
from unimodal.downsampling import Downsampling
from unimodal.drop_path import ramp
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.grid_pooling import GridPooling
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.full import Full
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.spatial_reduction import spatial_reduction
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.transformer import Transformer

__all__ = ["pvt_v2"]

_SMALL, _WIDE, _HEADS = (32, 64, 160, 256), (64, 128, 320, 512), (1, 2, 5, 8)
_RATIOS, _REDUCTIONS, _POOLED = (8.0, 8.0, 4.0, 4.0), (8, 4, 2, 1), (None,) * 4
# blocks, widths, hidden width of the feed-forward over the width, reductions (None: pooling to 7 x 7 cells)
_SIZES = MappingProxyType(
    {
        "b0": ((2, 2, 2, 2), _SMALL, _RATIOS, _REDUCTIONS),
        "b1": ((2, 2, 2, 2), _WIDE, _RATIOS, _REDUCTIONS),
        "b2": ((3, 4, 6, 3), _WIDE, _RATIOS, _REDUCTIONS),
        "b2_li": ((3, 4, 6, 3), _WIDE, _RATIOS, _POOLED),
        "b3": ((3, 4, 18, 3), _WIDE, _RATIOS, _REDUCTIONS),
        "b4": ((3, 8, 27, 3), _WIDE, _RATIOS, _REDUCTIONS),
        "b5": ((3, 6, 40, 3), _WIDE, (4.0,) * 4, _REDUCTIONS),
    }
)


def pvt_v2(
    size: str = "b1",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    stages: tuple[tuple[int, int, int, float, int | None], ...] | None = None,
    activation: str = "gelu",
    bias: bool = True,
    norm: Part = Part(LayerNorm),
    reduced_norm: Part = Part(LayerNorm, eps=1e-5),
) -> Part:
    """A Model part for pictures of any size from 29 px on, from 1 px on with pooled keys.

    Args:
        size: b0, b1, b2, b2_li, b3, b4 or b5.
        image: Side of the pictures in px; the network reads any.
        classes: Outputs of a classifier on the mean of the last stage's tokens, or None for that mean.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        stages: Blocks, width, heads, feed-forward ratio and reduction of each stage, instead of the size's; without
            a reduction (None) keys are pooled to 7 x 7 cells, and a ReLU stands in front of the convolution.
        activation: Of the feed-forwards, behind the convolution.
        bias: Whether queries, keys and values have a bias.
        norm: In the blocks and behind each stage.
        reduced_norm: Behind each convolution that makes fewer tokens.

    Raises:
        ValueError: an unknown size; an image that is no multiple of 4 px.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image < 4 or image % 4:
        raise ValueError(f"image must be a multiple of 4 px, not {image}")
    if stages is None:
        depths, widths, ratios, reductions = _SIZES[size]
        stages = tuple(zip(depths, widths, _HEADS, ratios, reductions, strict=True))
    made = []
    for (depth, width, heads, ratio, reduction), rates in zip(
        stages, ramp([row[0] for row in stages], drop_path), strict=True
    ):
        if reduction is None:
            mixer = _pooled(heads, bias, reduced_norm)
        else:
            mixer = spatial_reduction(width, heads=heads, reduction=reduction, bias=bias, norm=reduced_norm)
        ffn = _convolutional(width, ratio, activation, rectified=reduction is None)
        block = Part(Block, mixer=mixer, ffn=ffn, norm=norm)
        blocks = tuple(block.replace(drop_path=rate) for rate in rates) if drop_path else block
        made.append(Part(Transformer, depth=depth, blocks=blocks, norm=norm))
    return image_pyramid(
        stages[0][1],
        stem=Part(OverlappingPatchStem, patch=7, stride=4, padding=3),
        norm=reduced_norm,
        stages=tuple(made),
        between=tuple(Part(Downsampling, width=row[1], behind=reduced_norm) for row in stages[1:]),
        image=image,
        readout=Part(Head, pool=Part(Mean), width=classes),
    )


def _pooled(heads: int, bias: bool, norm: Part) -> Part:
    """Linear spatial reduction (sec. 3.2)."""
    behind = Part(Chain, parts=(Part(Linear), norm, Part(Activated)))
    return Part(ReducedKeys, mixer=Part(Full, heads=heads, bias=bias), reduce=Part(GridPooling, behind=behind))


def _convolutional(width: int, ratio: float, activation: str, *, rectified: bool) -> Part:
    """The convolutional feed-forward (sec. 3.4)."""
    widen, narrow = Part(Linear, width=int(width * ratio)), Part(Linear, width=width)
    relu = (Part(Activated, activation="relu"),) if rectified else ()
    return Part(Chain, parts=(widen, *relu, Part(Depthwise), Part(Activated, activation=activation), narrow))
