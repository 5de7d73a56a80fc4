"""Same cell: which tokens of a sequence lie in one cell of some partition, and what a cell's tokens have in common.

Axes: B rows, N tokens, D width.
"""

import torch
from torch import Tensor

__all__ = ["SameCell"]


class SameCell:
    """The relation "n and m lie in one cell"; padding lies in none.

    ``mask`` (B, 1, N, N) says it as an attention mask, and ``heads`` (B, N) is True for the first token of each cell.
    Nothing has a size that depends on how many cells there are.

    Args:
        cell: Any integers, equal for tokens of one cell, (B, N).
        real: False for padding, (B, N).

    Cost: O(B N^2) memory, O(B N^2 D) time for a mean.
    """

    def __init__(self, cell: Tensor, real: Tensor) -> None:
        together = (cell[:, :, None] == cell[:, None]) & real[:, None] & real[:, :, None]
        place = torch.arange(cell.shape[1], device=cell.device)
        self.mask = together[:, None]
        self.first = torch.where(real, together.int().argmax(-1), place)  # argmax: the first of equal ones
        self.heads = real & (self.first == place)

    def mean(self, x: Tensor) -> Tensor:
        """To each token the mean over its cell, (B, N, D); to padding 0."""
        together = self.mask[:, 0].to(x.dtype)
        return together @ x / together.sum(-1, keepdim=True).clamp(min=1.0)

    def largest(self, x: Tensor) -> Tensor:
        """To each token the largest value of each channel over its cell, (B, N, D)."""
        at = self.first[..., None].expand_as(x)
        return torch.zeros_like(x).scatter_reduce(1, at, x, "amax", include_self=False).gather(1, at)

    def of_first(self, values: Tensor) -> Tensor:
        """To each token the row of its cell, given one row a cell in the order of ``heads``: (Q, D) to (B, N, D)."""
        at = self.first[..., None].expand(-1, -1, values.shape[-1])
        empty = values.new_zeros(*self.first.shape, values.shape[-1])
        return empty.masked_scatter(self.heads[..., None], values).gather(1, at)
