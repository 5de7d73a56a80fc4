"""Volume grid: a scan on a working grid of bounded size, each axis cropped, shrunk or filled up.

Axes: z, y, x of a scan whose axes rise superior, anterior and right.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["AxisGrid", "axis_grid", "resample_volume"]

_SLAB = 2**22  # voxels that are converted and resampled at a time


@dataclass(frozen=True)
class AxisGrid:
    """One axis: voxels [begin, end) of the scan become ``cells``, and ``filled - cells`` repeat the last one.

    scan = begin + (end - begin) / cells * model, in coordinates where voxel i covers [i, i + 1).
    """

    begin: int
    end: int
    cells: int
    filled: int

    @property
    def scale(self) -> float:
        return (self.end - self.begin) / self.cells


def axis_grid(length: int, *, stride: int, most: int | None, fit: str, stretch: float = 1.0) -> AxisGrid:
    """How an axis of ``length`` voxels is laid on cells of ``stride``.

    Args:
        length: Voxels.
        stride: ``filled`` is a multiple of it.
        most: The most model voxels; None for any number.
        fit: What happens to more: ``inside`` shrinks them, ``crop`` takes the middle.
        stretch: Model voxels a voxel, 1 to keep the spacing.
    """
    cells = max(1, round(length * stretch))
    begin, end = 0, length
    if most is not None and cells > (most := most // stride * stride):
        if fit == "crop":
            kept = min(length, max(1, round(most / stretch)))
            begin = (length - kept) // 2
            end = begin + kept
        cells = most
    return AxisGrid(begin, end, cells, -(-cells // stride) * stride)


def resample_volume(values: np.ndarray, grids: tuple[AxisGrid, AxisGrid, AxisGrid]) -> Tensor:
    """Values on the working grid: linear between voxels, and averaged where it is coarser.

    Shapes:
        values: (z, y, x) numbers;  returns float32 (1, z, y, x) of the grids' ``filled``.
    """
    z, y, x = grids
    part = values[z.begin : z.end, y.begin : y.end, x.begin : x.end]
    step = max(1, _SLAB // (part.shape[1] * part.shape[2]))
    slabs = []
    for start in range(0, len(part), step):
        slab = torch.from_numpy(np.array(part[start : start + step], np.float32, order="C"))
        if slab.shape[1:] != (y.cells, x.cells):
            slab = F.interpolate(slab[:, None], (y.cells, x.cells), mode="bilinear", antialias=True)[:, 0]
        slabs.append(slab)
    whole = torch.cat(slabs)
    if len(whole) != z.cells:
        flat = F.interpolate(
            whole.flatten(1)[None, None], (z.cells, y.cells * x.cells), mode="bilinear", antialias=True
        )
        whole = flat[0, 0].view(z.cells, y.cells, x.cells)
    for axis, grid in enumerate(grids):
        if grid.filled > grid.cells:
            last = whole.narrow(axis, grid.cells - 1, 1)
            sizes = [-1, -1, -1]
            sizes[axis] = grid.filled - grid.cells
            whole = torch.cat([whole, last.expand(sizes)], axis)
    return whole[None].contiguous()
