"""Column cells: one learned vector for each number and each word of the columns of a fixed schema.

Source: Gorishniy et al. 2021, arXiv:2106.11959, sec. 3.3 (feature tokenizer); the missing value's own row: Huang et al.
2020, arXiv:2012.06678, sec. 2.
Axes: B tables, R rows, C columns, D width, K_j words of column j.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn as nn
from torch import Tensor

__all__ = ["ColumnCells"]


class ColumnCells(nn.Module):
    """t_j = b_j + v_j w_j for a number, b_j + e_j[word] for a word, b_j + e_j[0] where the cell is missing.

    Column j has K_j + 2 rows e_j: missing, its words, and one for any word that the schema does not know.

    Args:
        dim: Width D.
        words: K_j of each column; 0 for numbers.

    Shapes:
        cells: (B, R, C, 2): v, and a code: -1 for a number, 0 for missing, 1 .. K_j for a word, K_j + 1 for an unknown
            one;  returns (B, D, R, C).
    """

    def __init__(self, dim: int, *, words: Sequence[int]) -> None:
        super().__init__()
        rows = [count + 2 for count in words]
        self.words = tuple(words)
        self.weight = nn.Parameter(torch.empty(len(rows), dim))
        self.bias = nn.Parameter(torch.empty(len(rows), dim))
        self.table = nn.Embedding(sum(rows), dim)
        self.starts = (0, *accumulate(rows[:-1]))
        for values in (self.weight, self.bias, self.table.weight):
            nn.init.uniform_(values, -(dim**-0.5), dim**-0.5)  # as the paper's code does

    def forward(self, cells: Tensor) -> Tensor:
        value, code = cells.to(self.weight.dtype).unbind(-1)
        known = code.round().long()
        starts = torch.tensor(self.starts, device=known.device)
        last = torch.tensor(self.words, device=known.device) + 1
        rows = self.table(starts + known.clamp(min=0).minimum(last))
        is_number = (known < 0)[..., None]
        tokens_BRCD = self.bias + torch.where(is_number, value[..., None] * self.weight, rows)
        return tokens_BRCD.movedim(-1, 1)

    def inverse(self, tokens: Tensor) -> Tensor:
        """The cells whose tokens these are: of a column of words the nearest row, of numbers the projection onto w_j
        unless the row for a missing one is nearer.

        Shapes:
            tokens: (R, C, D);  returns (R, C, 2) float32.

        Raises:
            ValueError: there are not as many columns as in the schema.
        """
        if tokens.shape[1] != len(self.words):
            raise ValueError(f"tokens of {tokens.shape[1]} columns are none of a schema of {len(self.words)}")
        cells = tokens.new_zeros(*tokens.shape[:2], 2, dtype=torch.float32)
        left_RCD = (tokens - self.bias).detach().double()
        for j, (count, start) in enumerate(zip(self.words, self.starts, strict=True)):
            rows = self.table.weight[start : start + count + 2].detach().double()
            far_RK = torch.cdist(left_RCD[:, j], rows)
            if count:
                cells[:, j, 1] = far_RK.argmin(1).float()
                continue
            w_D = self.weight[j].detach().double()
            value_R = left_RCD[:, j] @ w_D / w_D.square().sum()
            off_R = (left_RCD[:, j] - value_R[:, None] * w_D).norm(dim=1)
            is_number = off_R <= far_RK[:, 0]
            cells[:, j, 0] = torch.where(is_number, value_R, 0).float()
            cells[:, j, 1] = torch.where(is_number, -1.0, 0.0)
        return cells
