"""CvT: a pyramid of three stages whose queries, keys and values are convolved, without any position.

Source: Wu et al. 2021, arXiv:2103.15808, sec. 3 and table 2; its released configurations as in transformers,
models/cvt. Parameters with a classifier of 1000 and 1e9 multiply-adds at 224 px:

    13  19,997,480  4.5    21  31,622,696  7.1    w24  277,196,392  60.9
"""

from types import MappingProxyType

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.downsampling import Downsampling
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.convolutional_projection import ConvolutionalProjection
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.prepared import Prepared
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.transformer import Transformer

__all__ = ["cvt"]

# blocks, width and heads of each stage
_SIZES = MappingProxyType(
    {
        "13": ((1, 64, 1), (2, 192, 3), (10, 384, 6)),
        "21": ((1, 64, 1), (4, 192, 3), (16, 384, 6)),
        "w24": ((2, 192, 3), (2, 768, 12), (20, 1024, 16)),
    }
)


def cvt(
    size: str = "13",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    stages: tuple[tuple[int, int, int], ...] | None = None,
    ratio: float = 4.0,
    key_stride: int = 2,
    bias: bool = True,
    scaled_by: str = "width",
    readout: Part | None = None,
) -> Part:
    """A Model part for pictures of any size from 3 px on; the last stage's tokens have a class token in front.

    Args:
        size: 13, 21 or w24.
        image: Side of the pictures in px; the network reads any.
        classes: Outputs of a classifier on the class token, or None for that token, both behind a norm.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first block of the last stage, as
            in the released configurations, whose other stages have none.
        stages: Blocks, width and heads of each stage, instead of the size's.
        ratio: Hidden width of the feed-forwards over the width.
        key_stride: Stride of keys and values in cells.
        bias: Whether queries, keys and values have a bias.
        scaled_by: What the products of queries and keys are divided by the root of: ``width`` as in the released
            models, or ``head``, the width of a head.
        readout: Instead of the class token, the norm and the classifier.

    Raises:
        ValueError: an unknown size or scale; an image that is no multiple of 4 px; classes beside a readout.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if scaled_by not in ("width", "head"):
        raise ValueError(f"scaled_by must be 'width' or 'head', not {scaled_by!r}")
    if image < 4 or image % 4:
        raise ValueError(f"image must be a multiple of 4 px, not {image}")
    if classes is not None and readout is not None:
        raise ValueError(f"classes={classes} belong to the classifier that readout={readout} stands for")
    stages, norm = _SIZES[size] if stages is None else stages, Part(LayerNorm, eps=1e-5)
    made = []
    for i, (depth, width, heads) in enumerate(stages):
        attention = Part(SoftmaxAttention, scale=width**-0.5 if scaled_by == "width" else None)
        mixer = Part(ConvolutionalProjection, heads=heads, key_stride=key_stride, bias=bias, attention=attention)
        block, last = Part(Block, mixer=mixer, ffn=Part(Plain, ratio=ratio), norm=norm), i == len(stages) - 1
        core = Part(Transformer, depth=depth, blocks=block, drop_path=drop_path if last else 0.0)
        made.append(Part(Prepared, core=core, prefix=1) if last else core)
    return image_pyramid(
        stages[0][1],
        stem=Part(OverlappingPatchStem, patch=7, stride=4, padding=2),
        norm=norm,
        stages=tuple(made),
        between=tuple(Part(Downsampling, width=width, behind=norm) for _, width, _ in stages[1:]),
        image=image,
        readout=Part(Head, pool=Part(ClassToken), norm=norm, width=classes) if readout is None else readout,
    )
