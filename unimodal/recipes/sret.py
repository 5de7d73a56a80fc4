"""SReT: a pyramid whose blocks are looped, each time with a small map of their own behind, on groups of tokens.

Source: Shen et al. 2021, arXiv:2111.05297; sizes: its code github.com/szq0214/SReT, SReT.py (SReT_T, SReT_LT, SReT_S).

Parameters with a classifier of 1000, and 1e9 multiply-adds of a picture of 224 px:

    t  4,755,979  1.112    lt  4,988,024  1.164    s  20,899,692  4.173
"""

from itertools import accumulate, pairwise
from types import MappingProxyType

from unimodal.downsampling import Downsampling
from unimodal.image_pyramid import image_pyramid
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.recipes.sliced_recursive import sliced_recursive
from unimodal.stems.convolution_stack import ConvolutionStackStem

__all__ = ["sret"]

# name: width of a head, heads of the three stages, ratio of the feed-forwards, ratio of the maps behind each loop
_SIZES = MappingProxyType(
    {
        "t": (32, (2, 4, 8), 3.6, 1.0),
        "lt": (32, (2, 4, 8), 4.0, 1.0),
        "s": (42, (3, 6, 12), 3.0, 2.0),
    }
)
_BLOCKS, _LOOPS, _GROUPS = (2, 5, 3), 2, ((8, 2), (4, 1), (1, 1))


def sret(
    size: str = "t",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    heads: tuple[int, ...] | None = None,
    loops: int = _LOOPS,
    groups: tuple[tuple[int, ...], ...] = _GROUPS,
) -> Part:
    """A Model part for pictures of any size, whose position map is resampled on other lattices than its own.

    Args:
        size: t, lt or s.
        image: Side of the pictures in px that the position map is made for, a multiple of 8.
        classes: Outputs of a classifier on the mean of the last stage's tokens, normed; or None for that vector.
        drop_path: Stochastic depth that the last application of all would have, as in the released code: rates grow
            over applications, and the blocks of a stage take the first ones of its applications.
        heads: Of each stage, instead of the size's, each a multiple of the one before.
        loops: Applications of each block.
        groups: Groups of tokens of each stage, a number a loop; ones everywhere for attention among all tokens.

    Raises:
        ValueError: an unknown size; an image that is no multiple of 8 px; heads or groups of other than three stages.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image < 8 or image % 8:
        raise ValueError(f"image must be a multiple of 8 px, not {image}")
    width, published, ratio, project_ratio = _SIZES[size]
    heads = published if heads is None else heads
    if not len(heads) == len(groups) == len(_BLOCKS):
        raise ValueError(f"heads and groups must be of {len(_BLOCKS)} stages, not {heads} and {groups}")
    widths = tuple(width * count for count in heads)
    ahead = (0, *accumulate(loops * count for count in _BLOCKS))
    stages = tuple(
        sliced_recursive(
            depth=depth,
            heads=count,
            loops=loops,
            groups=own,
            ratio=ratio,
            project_ratio=project_ratio,
            drop_path=tuple(drop_path * (first + i) / ahead[-1] for i in range(depth)),
        )
        for depth, count, own, first in zip(_BLOCKS, heads, groups, ahead, strict=False)
    )
    between = tuple(Part(Downsampling, width=after, groups=before, behind=None) for before, after in pairwise(widths))
    model = image_pyramid(
        widths[0],
        stem=Part(ConvolutionStackStem, widths=(widths[0] // 2, widths[0]), strides=(2, 2, 2), bias=True),
        stages=stages,
        between=between,
        image=image,
        readout=Part(Head, pool=Part(Mean), norm=Part(LayerNorm, eps=1e-6), width=classes),
    )
    return model.replace(positions={"image": Part(Learned, grid=(image // 8, image // 8))})
