"""Token groups: runs of a sequence, or windows of a lattice, as rows of their own.

Source: Chen & Li 2023, arXiv:2305.12689 (data tokens in groups; for pictures sub-images).
Axes: B rows, N tokens, T groups, S slots of a group, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["TokenGroups"]


class TokenGroups:
    """Group g of a sequence = its tokens g S .. (g + 1) S - 1, the last group filled up; or its g-th window in C order.

    Args:
        slots: S, the length of a run; or (rows, columns) of a window.
        groups: T, at most (of runs) or exactly (of windows).

    Raises:
        ValueError: a size is not positive. On :meth:`split`: there are more than T S tokens; the lattice is not one of
            T windows; or windows come with a prefix, lengths or causal order.
    """

    def __init__(self, slots: int | tuple[int, int], groups: int) -> None:
        self.window = (slots,) if isinstance(slots, int) else slots
        if min(groups, *self.window) < 1 or len(self.window) > 2:
            raise ValueError(f"sizes must be positive, not slots={slots}, groups={groups}")
        self.size, self.groups = self.window[0] * (1 if isinstance(slots, int) else slots[1]), groups

    def split(self, tokens: Tokens) -> Tokens:
        """Padded or uniform (B, N, D) to (B T', S, D), T' the groups of the longest row; lengths count real tokens."""
        side, count = tokens.side, self.count(tokens)
        if count > self.groups:
            raise ValueError(f"{tokens.x.shape[1]} tokens are more than {self.groups} groups of {self.size}")
        x, lengths = tokens.x, None
        grid = None if len(self.window) == 1 else self.window
        if grid is not None:
            x = x[:, self._order(tokens)]
        if side.lengths is not None or x.shape[1] < count * self.size:
            first_T = self.size * torch.arange(count, device=x.device)
            length_B = x.new_full((len(x),), x.shape[1], dtype=torch.int64) if side.lengths is None else side.lengths
            lengths = (length_B[:, None] - first_T).clamp(0, self.size).flatten()
            x = F.pad(x, (0, 0, 0, count * self.size - x.shape[1]))
        x_RSD = x.unflatten(1, (count, self.size)).flatten(0, 1)
        return Tokens(x_RSD, Side(grid=grid, causal=side.causal, lengths=lengths))

    def join(self, rows: Tensor, tokens: Tokens) -> Tensor:
        """The rows of :meth:`split` as (B, N, D) where ``tokens`` had them."""
        x = rows.unflatten(0, (len(tokens.x), -1)).flatten(1, 2)[:, : tokens.x.shape[1]]
        return x if len(self.window) == 1 else x[:, self._order(tokens).argsort()]

    def count(self, tokens: Tokens) -> int:
        """T', groups that any row has."""
        return -(-tokens.x.shape[1] // self.size)

    def counts(self, tokens: Tokens) -> Tensor | None:
        """(B,) the groups of each row; None where all have T'."""
        return None if tokens.side.lengths is None else -(-tokens.side.lengths // self.size)

    def _order(self, tokens: Tokens) -> Tensor:
        side, high, wide = tokens.side, self.window[0], self.window[-1]
        rows, columns = side.grid if side.grid is not None and len(side.grid) == 2 else (0, 0)
        if rows % high or columns % wide or side.prefix or rows * columns != self.groups * self.size:
            raise ValueError(
                f"the lattice must be cut into {self.groups} windows of {high} x {wide} without prefix, "
                f"not grid={side.grid}, prefix={side.prefix}"
            )
        if side.causal or side.lengths is not None:
            raise ValueError("windows follow no order of tokens: causal and lengths are not supported with them")
        place = torch.arange(rows * columns, device=tokens.x.device).view(-1, high, columns // wide, wide)
        return place.transpose(1, 2).flatten()
