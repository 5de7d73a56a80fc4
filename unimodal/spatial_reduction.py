"""Spatial reduction: the mixer part of PVT's blocks, attention of all tokens to one key a box of R x R.

Source: Wang et al. 2021, arXiv:2102.12122, sec. 3.3.
"""

from unimodal.downsampling import Downsampling
from unimodal.mixers.full import Full
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part

__all__ = ["spatial_reduction"]


def spatial_reduction(
    width: int, *, heads: int, reduction: int, bias: bool = True, norm: Part = Part(LayerNorm, eps=1e-5)
) -> Part:
    """A mixer part: keys and values of norm(conv(x)), a convolution of R x R cells every R cells.

    With R = 1 the mixer is :class:`~unimodal.mixers.full.Full` alone, without the map and the norm, as in the paper.

    Args:
        width: Of the tokens.
        heads: Of the attention.
        reduction: R.
        bias: Whether queries, keys and values have a bias.
        norm: Behind the convolution.
    """
    full = Part(Full, heads=heads, bias=bias)
    if reduction == 1:
        return full
    reduce = Part(Downsampling, width=width, kernel=reduction, stride=reduction, padding=0, behind=norm)
    return Part(ReducedKeys, mixer=full, reduce=reduce)
