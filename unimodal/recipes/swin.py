"""Swin: a pyramid of attention within windows that move by half a window from block to block.

Source: Liu et al. 2021, arXiv:2103.14030, sec. 3.3 and table 1; heads, norms and rates: github.com/microsoft/
Swin-Transformer, models/swin_transformer.py.

Parameters with a classifier of 1000 and windows of 7 cells, and 1e9 multiply-adds at 224 px; with windows of 12 for
pictures of 384 px base has 87,903,584 and large 196,735,516:

    tiny 28,288,354 4.5   small 49,606,258 8.7   base 87,768,224 15.4   large 196,532,476 34.5
"""

from types import MappingProxyType

from unimodal.attention.lattice_bias import LatticeBias
from unimodal.block import Block
from unimodal.drop_path import ramp
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.full import Full
from unimodal.mixers.shifted_windows import ShiftedWindows
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.patch_merging import PatchMerging
from unimodal.readouts.behind import Behind
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

__all__ = ["swin"]

# name: width of the first stage (it doubles), blocks of the four stages, heads of the first one (they double)
_SIZES = MappingProxyType(
    {
        "tiny": (96, (2, 2, 6, 2), 3),
        "small": (96, (2, 2, 18, 2), 3),
        "base": (128, (2, 2, 18, 2), 4),
        "large": (192, (2, 2, 18, 2), 6),
    }
)


def swin(
    size: str = "tiny",
    *,
    image: int = 224,
    window: int = 7,
    classes: int | None = None,
    drop_path: float = 0.0,
    width: int | None = None,
    depths: tuple[int, ...] | None = None,
    heads: tuple[int, ...] | None = None,
    ratio: float = 4.0,
    qkv_bias: bool = True,
    activation: str = "gelu",
    eps: float = 1e-5,
    stem: Part = Part(PatchStem, patch=4),
    windows: tuple[Part, ...] | None = None,
) -> Part:
    """A Model part for pictures. Blocks cut their lattice at 0 and at half a window in turn.

    Args:
        size: tiny, small, base or large.
        image: Side of the pictures in px; the network reads any. The paper's are 224 with windows of 7, 384 with 12.
        window: Side of a window in cells.
        classes: Outputs of a classifier on the mean of the last stage's normed tokens, or None for that mean.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        width: Of the first stage, instead of the size's.
        depths: Blocks of the stages, instead of the size's.
        heads: Of the stages, instead of the size's.
        ratio: Hidden width of the feed-forwards over their width.
        qkv_bias: Whether queries, keys and values have a bias.
        activation: Of the feed-forwards.
        eps: Of all norms.
        stem: Cuts a picture into patches.
        windows: How the blocks of each stage cut their lattice, as parts of
            :class:`~unimodal.mixers.shifted_windows.ShiftedWindows` without a mixer, whose ``shift`` is that of every
            second block; None for windows of ``window`` cells and half of that.

    Raises:
        ValueError: an unknown size; depths, heads and windows are not of as many stages.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    width, depths = width or _SIZES[size][0], depths or _SIZES[size][1]
    heads = heads or tuple(_SIZES[size][2] * 2**i for i in range(len(depths)))
    windows = windows or (Part(ShiftedWindows, window=window, shift=window // 2),) * len(depths)
    if not len(depths) == len(heads) == len(windows):
        raise ValueError(f"depths, heads and windows must be of as many stages, not {depths}, {heads}, {windows}")
    norm, ffn = Part(LayerNorm, eps=eps), Part(Plain, ratio=ratio, activation=activation)
    stages = []
    for cut, count, rates in zip(windows, heads, ramp(depths, drop_path), strict=True):
        attention = Part(LatticeBias, heads=count, window=cut.kwargs["window"])
        mixer = cut.replace(mixer=Part(Full, heads=count, bias=qkv_bias, attention=attention))
        pair = (mixer.replace(shift=0), mixer)
        blocks = (Part(Block, mixer=pair[i % 2], ffn=ffn, norm=norm, drop_path=rate) for i, rate in enumerate(rates))
        stages.append(Part(Transformer, depth=len(rates), blocks=tuple(blocks)))
    readout = Part(Mean) if classes is None else Part(Head, pool=Part(Mean), width=classes)
    return image_pyramid(
        width,
        stem=stem,
        norm=norm,
        stages=tuple(stages),
        between=(Part(PatchMerging, norm=norm),) * (len(depths) - 1),
        image=image,
        crop_fraction=0.9,
        readout=Part(Behind, parts=(norm,), readout=readout),
    )
