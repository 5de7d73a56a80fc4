"""Patches: pictures and volumes cut into boxes, boxes put together again, and tokens of a patch stem as their pictures.

Axes: B inputs, N tokens or boxes, C channels, ... axes of a picture (Y, X) or volume (Z, Y, X), K values of a box.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor

from unimodal.cells import projected_from
from unimodal.stems.patch import PatchStem
from unimodal.tokens import Tokens

__all__ = ["patchify", "pictures_from", "unpatchify"]


def patchify(values: Tensor, patch: Sequence[int]) -> Tensor:
    """Boxes in C order, the values of each in the order of a convolution's kernel: channel, (slice,) row, column.

    What lies behind the last whole box is dropped. (MAE's code has the channels last within a patch.)

    Args:
        patch: Size of a box, a number for each of the two or three axes.

    Shapes:
        values: (B, C, ...);  returns (B, N, K), K = C prod(patch).

    Raises:
        ValueError: the values have another number of axes than ``patch``, or less than one box.
    """
    axes, sizes = range(len(patch)), values.shape[2:]
    if len(sizes) != len(patch) or any(size < step for size, step in zip(sizes, patch, strict=True)):
        raise ValueError(f"values of sizes {tuple(sizes)} have no boxes of {tuple(patch)}")
    for axis, step in enumerate(patch):  # the axes in front are two each by now
        values = values.narrow(2 + 2 * axis, 0, sizes[axis] // step * step).unflatten(2 + 2 * axis, (-1, step))
    inner = [3 + 2 * axis for axis in axes]
    return values.permute(0, *(place - 1 for place in inner), 1, *inner).flatten(1 + len(patch)).flatten(1, len(patch))


def unpatchify(boxes: Tensor, grid: Sequence[int], patch: Sequence[int]) -> Tensor:
    """The inverse of :func:`patchify`, exact: the values whose boxes these are.

    Args:
        grid: How many boxes there are along each axis.
        patch: Size of a box.

    Shapes:
        boxes: (B, N, K), N = prod(grid);  returns (B, C, ...).

    Raises:
        ValueError: there are not as many boxes as the grid has, or their values are no multiple of a box's.
    """
    axes = len(patch)
    if boxes.shape[1] != prod(grid) or len(grid) != axes or boxes.shape[2] % prod(patch):
        raise ValueError(f"boxes {tuple(boxes.shape)} do not fill a grid {tuple(grid)} of boxes of {tuple(patch)}")
    cells = boxes.reshape(len(boxes), *grid, -1, *patch)
    order = [place for axis in range(axes) for place in (1 + axis, 2 + axes + axis)]
    sizes = [count * step for count, step in zip(grid, patch, strict=True)]
    return cells.permute(0, 1 + axes, *order).reshape(len(boxes), -1, *sizes)


def pictures_from(tokens: Tokens, stem: Any) -> list[Tensor]:
    """The values whose patches were projected, by the pseudo-inverse; prefix tokens are dropped.

    Shapes:
        returns one float64 (C, Y, X) a sequence, without what lay behind the last whole patch.

    Raises:
        ValueError: the stem is no PatchStem, or its projection has more inputs than it has independent outputs, so
            that different pictures have the same tokens; or the tokens have no lattice.
    """
    if not isinstance(stem, PatchStem):
        raise ValueError(f"only a PatchStem can be inverted, and the stem is a {type(stem).__name__}")
    tokens, patch = tokens.lattice(), (stem.stride, stem.stride)
    pictures = []
    for x_ND, grid in zip(tokens.split(), tokens.side.lattices(tokens.sequences), strict=True):
        values_NK = projected_from(x_ND, stem.project.weight, stem.project.bias)
        pictures.append(unpatchify(values_NK[None], grid, patch)[0])
    return pictures
