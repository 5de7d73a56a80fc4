"""Tokens-to-token stem: an image becomes tokens in steps, each a small attention and a split into overlapping windows.

Source: Yuan et al. 2021, arXiv:2101.11986, sec. 3.1, eq. 1-4; sizes: github.com/yitu-opensource/T2T-ViT.
Axes: B images, C channels, Y rows, X columns, N tokens, F values of a window, K token width, D width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.token_performer import TokenPerformerAttention
from unimodal.ffns.plain import Plain
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part

__all__ = ["TokensToTokenStem"]


class TokensToTokenStem(nn.Module):
    """Split 7 x 7 every 4 px, attend, split 3 x 3 every 2 tokens, attend, split 3 x 3 every 2 tokens, project to D.

        soft split   token n = all values of window n (zeros behind the edges): 147, then 9 K, then 9 K numbers
        attend       y = v + W_o attention(q, k, v),  (q, k, v) = W norm(x);   z = y + ffn(norm(y)), hidden width K

    The residual is v, since x has another width than y. Pixels behind the last whole square of 16 are dropped.

    Args:
        dim: Width D.
        attention: The attention rules of the two steps, of one head.
        width: K of both.
        bias: Whether queries, keys and values have a bias.
        dropout: Of both branches of a step, while training.
        eps: Of every norm.
        channels: C.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, Y // 16, X // 16).

    Raises:
        ValueError: an image is smaller than 16 px.
    """

    def __init__(
        self,
        dim: int,
        *,
        attention: tuple[Part, Part] = (
            Part(TokenPerformerAttention, width=64),
            Part(TokenPerformerAttention, width=64),
        ),
        width: int = 64,
        bias: bool = True,
        dropout: float = 0.0,
        eps: float = 1e-5,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.stride, self.channels = 16, channels
        sizes = (49 * channels, 9 * width)
        self.steps = nn.ModuleList(
            _Step(size, width, attention=rule, bias=bias, dropout=dropout, eps=eps)
            for size, rule in zip(sizes, attention, strict=True)
        )
        self.project = nn.Linear(9 * width, dim)

    def forward(self, pixels: Tensor) -> Tensor:
        rows, columns = (n // self.stride for n in pixels.shape[-2:])
        if not rows or not columns:
            raise ValueError(f"an image must have at least {self.stride} x {self.stride} px, not {pixels.shape[-2:]}")
        pixels = pixels[..., : rows * self.stride, : columns * self.stride]
        x_BNF, times = F.unfold(pixels, 7, stride=4, padding=2).mT, 4
        for step in self.steps:
            map_BKYX = step(x_BNF).mT.unflatten(-1, (rows * times, columns * times))
            x_BNF, times = F.unfold(map_BKYX, 3, stride=2, padding=1).mT, times // 2
        return self.project(x_BNF).mT.unflatten(-1, (rows, columns))


class _Step(nn.Module):
    """Attention and feed-forward that change the width."""

    def __init__(self, size: int, width: int, *, attention: Part, bias: bool, dropout: float, eps: float) -> None:
        super().__init__()
        self.norm_mixer = LayerNorm(size, eps=eps)
        self.to_qkv = nn.Linear(size, 3 * width, bias=bias)
        self.attention = attention()
        self.to_out = nn.Linear(width, width)
        self.norm_ffn = LayerNorm(width, eps=eps)
        self.ffn = Plain(width, hidden=width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BNF: Tensor) -> Tensor:
        q, k, v = self.to_qkv(self.norm_mixer(x_BNF)).chunk(3, dim=-1)
        y_BNK = v + self.dropout(self.to_out(self.attention(q[:, None], k[:, None], v[:, None])[:, 0]))
        return y_BNK + self.dropout(self.ffn(self.norm_ffn(y_BNK)))
