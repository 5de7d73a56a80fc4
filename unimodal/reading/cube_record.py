"""Cube record: which part of a hyperspectral cube became tokens, how it was scaled, and the way back to its own values.

Axes: Y rows, X columns, B bands of the part that was taken; y, x, b the same, filled up to whole cells.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["CubeRecord"]


@dataclass(frozen=True, eq=False)
class CubeRecord:
    """value = centre + scale * model.

    Args:
        source: The cube's name.
        size: Rows, columns and bands of the whole cube.
        rows: Which rows were taken: the first, behind the last, and the step.
        columns: Likewise.
        bands: The bands that were taken, in order; not those marked as bad, nor those without any value.
        centre: One number, or (B,).
        scale: One number, or (B,).
        missing: (Y, X, B) boolean, True where there was no value (NaN, infinite or the value that says so), or None.
        wavelengths: (B,) nm, or None.
        cell: Bands, rows and columns of a token.
    """

    source: str
    size: tuple[int, int, int]
    rows: tuple[int, int, int]
    columns: tuple[int, int, int]
    bands: tuple[int, ...]
    centre: np.ndarray
    scale: np.ndarray
    missing: np.ndarray | None
    wavelengths: np.ndarray | None
    cell: tuple[int, int, int]

    @property
    def taken(self) -> tuple[int, int, int]:
        """Y, X, B."""
        return len(range(*self.rows)), len(range(*self.columns)), len(self.bands)

    @property
    def whole(self) -> bool:
        """Whether every pixel was taken."""
        return self.taken[:2] == self.size[:2]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of it, in words."""
        if self.taken == self.size:
            return ()
        names = ("rows", "columns", "bands")
        return (" and ".join(f"{n} of {m} {name}" for n, m, name in zip(self.taken, self.size, names, strict=True)),)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along bands, rows and columns."""
        rows, columns, bands = self.taken
        depth, height, width = self.cell
        return -(-bands // depth), -(-rows // height), -(-columns // width)

    def restore(self, values: Tensor) -> Tensor:
        """The taken part in the cube's own numbers, NaN where there were none.

        Shapes:
            values: (1, b, y, x), what :meth:`Hyperspectral.read` gives as ``sample.data`` or
                :meth:`Hyperspectral.detokenize` gives back;  returns (Y, X, B) float64.
        """
        rows, columns, bands = self.taken
        own = values[0, :bands, :rows, :columns].detach().cpu().double().permute(1, 2, 0)
        own = own * torch.from_numpy(np.asarray(self.scale)) + torch.from_numpy(np.asarray(self.centre))
        return own if self.missing is None else own.masked_fill(torch.from_numpy(self.missing), torch.nan)

    def token_wavelengths(self) -> Tensor | None:
        """The mean wavelength of each token in nm, (N, 1) float32, or None where wavelengths are not known."""
        if self.wavelengths is None:
            return None
        groups, depth = self.grid[0], self.cell[0]
        means = [float(self.wavelengths[i * depth : (i + 1) * depth].mean()) for i in range(groups)]
        return torch.tensor(means).repeat_interleave(self.grid[1] * self.grid[2])[:, None]
