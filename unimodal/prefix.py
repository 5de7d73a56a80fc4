"""Prefix: learned tokens in front of every sequence (class tokens, registers).

Source: class token: Dosovitskiy et al. 2020, arXiv:2010.11929, eq. 1; registers: Darcet et al. 2023, arXiv:2309.16588.
Axes: B rows, N tokens, D width, R prefix tokens.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["Prefix"]


class Prefix(nn.Module):
    """[t_1 .. t_R, x_1 .. x_N] for each sequence, in any layout.

    Positions, sizes and scores of prefix tokens are 0, 1 and 0; a modality given token by token is taken from the
    first token.

    Args:
        dim: Width D.
        count: R.

    Shapes:
        tokens.x: (B, N, D);  returns (B, R + N, D), packed: (1, S R + N, D).

    Raises:
        ValueError: a mask or bias is set: its axes do not know the new tokens.
    """

    def __init__(self, dim: int, *, count: int) -> None:
        super().__init__()
        self.count = count
        self.tokens = nn.Parameter(torch.empty(count, dim))
        nn.init.trunc_normal_(self.tokens, std=0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        side = tokens.side.honour("causal", "lengths", "cu_seqlens", "memory")
        changes: dict[str, object] = {"prefix": side.prefix + self.count}
        if side.cu_seqlens is not None:
            added = self.count * torch.arange(tokens.sequences + 1, device=tokens.x.device)
            changes["cu_seqlens"] = (side.cu_seqlens + added).to(side.cu_seqlens.dtype)
        if side.lengths is not None:
            changes["lengths"] = side.lengths + self.count
        for name, fill in (("positions", 0.0), ("size", 1.0), ("score", 0.0), ("modality", None)):
            value = getattr(side, name)
            if isinstance(value, Tensor):
                changes[name] = self._ahead(value, tokens, fill)
        return tokens.replace(self._ahead(tokens.x, tokens, self.tokens.to(tokens.x.dtype)), **changes)

    def _ahead(self, value: Tensor, tokens: Tokens, front: Tensor | float | None) -> Tensor:
        rows = value.split(tokens.sequence_lengths(), dim=1) if tokens.side.cu_seqlens is not None else [value]
        out = []
        for row in rows:
            if isinstance(front, Tensor):
                out.append(torch.cat([front.expand(row.shape[0], -1, -1), row], 1))
            elif front is None:
                out.append(torch.cat([row[:, :1].expand(-1, self.count), row], 1))
            else:
                out.append(F.pad(row, (0, 0) * (row.ndim - 2) + (self.count, 0), value=front))
        return torch.cat(out, 1)
