"""Next-ViT: a pyramid of convolutions with attention at the end of each group of blocks, of which all norms fold.

Source: Li et al. 2022, arXiv:2207.05501, sec. 3 and table 3; its code github.com/bytedance/Next-ViT,
classification/nextvit.py. Parameters with a classifier of 1000, and 1e9 multiply-adds at 224 px:

    small 31,763,368  5.8    base 44,818,856  8.3    large 57,874,344  10.8
"""

from types import MappingProxyType

from unimodal.appended import Appended
from unimodal.average_pooling import AveragePooling
from unimodal.chain import Chain
from unimodal.drop_path import ramp
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.convolution import Convolution
from unimodal.mixers.full import Full
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.raster_pooling import RasterPooling
from unimodal.readouts.behind import Behind
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.stems.convolution_stack import ConvolutionStackStem
from unimodal.transformer import Transformer

__all__ = ["next_vit"]

_SIZES = MappingProxyType({"small": (3, 4, 10, 3), "base": (3, 4, 20, 3), "large": (3, 4, 30, 3)})
_HEAD, _SHARE = 32, 0.75  # channels of a head; share of a transformer block's channels that attention makes


def next_vit(
    size: str = "small",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    depths: tuple[int, ...] | None = None,
    pattern: tuple[str, ...] | None = None,
    widths: tuple[int, ...] = (96, 192, 384, 768),
    wide: tuple[int, ...] = (256, 512, 1024),
    reductions: tuple[int, ...] = (4, 2, 1),
    stem: tuple[int, ...] = (64, 32, 64),
    head: int = _HEAD,
    activation: str = "relu",
    norm: Part = Part(BatchNorm),
) -> Part:
    """A Model part for pictures of any size from 25 px on.

    Args:
        size: small, base or large.
        image: Side of the pictures in px, a multiple of 4; the network reads any.
        classes: Outputs of a classifier on the mean of the last stage's tokens, normed; or None for that vector.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first. A transformer block's two
            mixers have 0.75 and 0.25 of its rate.
        depths: Blocks of each stage, instead of the size's; those of the third in fives.
        pattern: A letter a block of each stage, C convolution or T transformer, instead of ``depths`` and of the
            published pattern, which ends the second and the fourth stage and each five of the third with a T.
        widths: Of each stage's convolution blocks, in the first stage of transformer blocks too.
        wide: Of the transformer blocks of each stage from the second on.
        reductions: R of each stage from the second on, twice the first of them in the first stage; R^2 tokens in a row
            make one key.
        stem: Channels of the stem's convolutions before the last one, which keeps the last of them.
        head: Channels of a head, of attention and of convolutions.
        activation: Everywhere.
        norm: Everywhere; it must be affine in use for the network to fold.

    Raises:
        ValueError: an unknown size; an image that is no multiple of 4 px; a third stage that is not of fives; a
            pattern beside depths, of other than four stages or of other letters.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image < 4 or image % 4:
        raise ValueError(f"image must be a multiple of 4 px, not {image}")
    rows = _pattern(_SIZES[size] if depths is None else depths) if pattern is None else pattern
    if pattern is not None and (depths is not None or len(rows) != 4 or not all(rows) or set("".join(rows)) - {*"CT"}):
        raise ValueError(f"pattern must be of letters C and T for four stages, without depths, not {pattern}, {depths}")
    stages, between, before = [], [], stem[-1]
    for row, narrow, broad, rates, reduction in zip(
        rows,
        widths,
        (widths[0], *wide),
        ramp(tuple(map(len, rows)), drop_path),
        (2 * reductions[0], *reductions),
        strict=True,
    ):
        attended = int(max(head, int(int(broad * _SHARE) + head / 2) // head * head))
        if stages:
            before = attended if row[0] == "T" else narrow
            behind = Part(Chain, parts=(Part(Linear, width=before, bias=False), norm))
            between.append(Part(AveragePooling, behind=behind))
        blocks = []
        for kind, rate in zip(row, rates, strict=True):
            inner, width = (attended, broad) if kind == "T" else (narrow, narrow)
            embedding = () if inner == before else (Part(Linear, width=inner, bias=False), norm)
            if kind == "T":
                parts = _attending(inner, width - inner, reduction, rate, head, activation, norm)
            else:
                parts = _convolving(width, rate, head, activation, norm)
            blocks.append(Part(Chain, parts=(*embedding, *parts)))
            before = width
        stages.append(Part(Transformer, depth=len(blocks), blocks=tuple(blocks)))
    return image_pyramid(
        stem[-1],
        stem=Part(ConvolutionStackStem, widths=stem, activation=activation, norm=norm),
        stages=tuple(stages),
        between=tuple(between),
        image=image,
        readout=Part(Behind, parts=(norm,), readout=Part(Head, pool=Part(Mean), width=classes)),
    )


def _pattern(depths: tuple[int, ...]) -> tuple[str, ...]:
    """The published one (sec. 3.4)."""
    if depths[2] % 5:
        raise ValueError(f"the third stage has blocks in fives, not {depths[2]}")
    return "C" * depths[0], "C" * (depths[1] - 1) + "T", "CCCCT" * (depths[2] // 5), "C" * (depths[3] - 1) + "T"


def _mixing(width: int, rate: float, head: int, activation: str, norm: Part) -> Part:
    """Multi-head convolutional attention (sec. 3.2): a head is a group of channels."""
    gather = Part(Convolution, groups=width // head, bias=False)
    branch = (gather, norm, Part(Activated, activation=activation), Part(Linear, bias=False))
    return Part(Residual, branch=branch, drop_path=rate)


def _convolving(width: int, rate: float, head: int, activation: str, norm: Part) -> tuple[Part, ...]:
    """Next convolution block."""
    ffn = Part(Plain, ratio=3.0, activation=activation)
    return _mixing(width, rate, head, activation, norm), Part(Residual, branch=(norm, ffn), drop_path=rate)


def _attending(
    width: int, more: int, reduction: int, rate: float, head: int, activation: str, norm: Part
) -> tuple[Part, ...]:
    """Next transformer block: attention's channels, and ``more`` that convolutions make of them, then both mixed."""
    mixer = Part(Full, heads=width // head)
    if reduction > 1:
        mixer = Part(ReducedKeys, mixer=mixer, reduce=Part(RasterPooling, cells=reduction**2, behind=norm))
    local = (Part(Linear, width=more, bias=False), norm, _mixing(more, rate * (1 - _SHARE), head, activation, norm))
    return (
        Part(Residual, branch=(norm, mixer), drop_path=rate * _SHARE),
        Part(Appended, part=Part(Chain, parts=local)),
        Part(Residual, branch=(norm, Part(Plain, ratio=2.0, activation=activation)), drop_path=rate),
    )
