"""RMT: a pyramid whose attention decays with the distance on the lattice, along its axes where there are many tokens.

Source: Fan et al. 2024, arXiv:2309.11523; sizes, stem and readout: its code github.com/qhfan/RMT,
classfication_release/RMT.py (RMT_T3, RMT_S, RMT_M2, RMT_L6).

Parameters with a classifier of 1000, and 1e9 multiply-adds of a picture of 224 px, those of attention among them (the
code's README leaves them out):

    tiny  14,334,216   2.64    small  26,967,240   4.78    base  54,154,896  10.37    large  95,464,864  19.49
"""

from types import MappingProxyType
from typing import NamedTuple

from unimodal.attention.manhattan import ManhattanAttention
from unimodal.block import Block
from unimodal.chain import Chain
from unimodal.downsampling import Downsampling
from unimodal.drop_path import ramp
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.manhattan import Manhattan
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.behind import Behind
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.stems.convolution_stack import ConvolutionStackStem
from unimodal.transformer import Transformer

__all__ = ["rmt"]


class _Size(NamedTuple):
    """A row of the code, a number a stage: how fast heads decay is 2 to 2 + spread (see ManhattanAttention)."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    spreads: tuple[float, ...]
    ratios: tuple[int, ...]
    decomposed: int  # stages whose attention goes axis by axis
    scaled: int  # the first stage with layer scale


_SIZES = MappingProxyType(
    {
        "tiny": _Size((64, 128, 256, 512), (2, 2, 8, 2), (4, 4, 8, 16), (4, 4, 6, 6), (3, 3, 3, 3), 2, 4),
        "small": _Size((64, 128, 256, 512), (3, 4, 18, 4), (4, 4, 8, 16), (4, 4, 6, 6), (4, 4, 3, 3), 3, 4),
        "base": _Size((80, 160, 320, 512), (4, 8, 25, 8), (5, 5, 10, 16), (5, 5, 6, 6), (4, 4, 3, 3), 3, 2),
        "large": _Size((112, 224, 448, 640), (4, 8, 25, 8), (7, 7, 14, 20), (6, 6, 6, 6), (4, 4, 3, 3), 3, 2),
    }
)


def rmt(
    size: str = "tiny",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    layer_scale: float = 1e-6,
    widths: tuple[int, ...] | None = None,
    depths: tuple[int, ...] | None = None,
) -> Part:
    """A Model part for pictures of any size: no weight belongs to a place, and decays are made for each lattice.

    Args:
        size: tiny, small, base or large.
        image: Side of the pictures in px, a multiple of 4; the network reads any.
        classes: Outputs of a classifier on the mean of 1024 maps of the last stage, or None for that mean.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        layer_scale: Initial factor on the branches of base's and large's last two stages.
        widths: Of each stage, instead of the size's.
        depths: Blocks of each stage, instead of the size's.

    Raises:
        ValueError: an unknown size; an image that is no multiple of 4 px; widths or depths of other than four stages.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image < 4 or image % 4:
        raise ValueError(f"image must be a multiple of 4 px, not {image}")
    row = _SIZES[size]
    row = row._replace(widths=row.widths if widths is None else widths, depths=row.depths if depths is None else depths)
    if not len(row.widths) == len(row.depths) == 4:
        raise ValueError(f"widths and depths must be of four stages, not {row.widths} and {row.depths}")
    stages = []
    for i, rates in enumerate(ramp(row.depths, drop_path)):
        blocks = tuple(_block(row, i, rate, layer_scale) for rate in rates)
        stages.append(Part(Transformer, depth=len(rates), blocks=blocks))
    tail = (Part(Linear, width=1024), Part(BatchNorm), Part(Activated, activation="silu"))
    return image_pyramid(
        row.widths[0],
        stem=_stem(row.widths[0]),
        stages=tuple(stages),
        between=tuple(Part(Downsampling, width=width, behind=Part(BatchNorm)) for width in row.widths[1:]),
        image=image,
        readout=Part(Behind, parts=tail, readout=Part(Head, pool=Part(Mean), width=classes)),
    )


def _stem(width: int) -> Part:
    """Four convolutions of 3 x 3, the first and the third of stride 2."""
    made = Part(ConvolutionStackStem, widths=(width // 2, width // 2, width), strides=(2, 1, 2, 1))
    return made.replace(activation="gelu", activated=False, bias=True)


def _block(row: _Size, stage: int, rate: float, layer_scale: float) -> Part:
    """A conditional position, attention, and a feed-forward whose hidden units look around."""
    width, around = row.widths[stage], Part(Residual, branch=(Part(Depthwise, kernel=3),))
    attention = Part(ManhattanAttention, decomposed=stage < row.decomposed, spread=float(row.spreads[stage]))
    hidden, back = Part(Linear, width=row.ratios[stage] * width), Part(Linear, width=width)
    block = Part(
        Block,
        mixer=Part(Manhattan, heads=row.heads[stage], attention=attention),
        ffn=Part(Chain, parts=(hidden, Part(Activated), around, back)),
        norm=Part(LayerNorm, eps=1e-6),
        layer_scale=layer_scale if stage >= row.scaled else None,
        drop_path=rate,
    )
    return Part(Chain, parts=(around, block))
