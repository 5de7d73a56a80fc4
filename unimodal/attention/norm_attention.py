"""Norm attention: linear attention without a denominator, steadied by a norm over all heads of its output.

Source: Qin et al. 2022, arXiv:2210.10340, sec. 4.1 (XNorm in place of the scaling); github.com/OpenNLPLab/fairseq-evo,
fairseq/modules/norm_linear_attention.py (one norm over the concatenated heads).
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, D = H V.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.linear import LinearAttention
from unimodal.kernels.norm import norm
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["NormAttention"]


class NormAttention(nn.Module):
    """o_n = norm(concat_h sum_m phi(q_hn) phi(k_hm) v_hm): one norm over the H V numbers of a token.

    A denominator gives weights whose derivative with respect to a score s reaches 1 / (4 |s|), without bound where
    scores vanish; the norm's derivative is at most of the order of 1 / sqrt(eps). The norm does not divide by head: it
    sees the heads side by side, as the output projection will, so that a head may be large where others are small. An
    attention rule returns heads, so it stands here and not in the mixer, and its result is cut into heads again.

    Without ``width`` the norm has no parameters. A learned scale, and a shift, are contained in the output projection
    behind it; they change how it is trained, not what it can become.

    Args:
        rule: The attention rule whose output is normalised. The paper's diagonal attention has the same norm behind it:
            give a :class:`~unimodal.attention.diagonal.DiagonalAttention`.
        norm: ``rms`` or ``layer``.
        width: D, for a learned scale (and shift of ``layer``), or None.
        eps: Added to the mean square (``rms``) or the variance (``layer``). The released norm adds 1e-8 to the root.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: an unknown norm; H V is not ``width``; what the rule refuses.

    Cost: That of the rule.
    """

    def __init__(
        self,
        *,
        rule: Part = Part(LinearAttention, features="elu", normalised=False),
        norm: str = "rms",
        width: int | None = None,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if norm not in ("rms", "layer"):
            raise ValueError(f"norm must be 'rms' or 'layer', not {norm!r}")
        self.norm, self.width, self.eps = norm, width, eps
        self.attention = rule()
        self.weight = nn.Parameter(torch.ones(width)) if width is not None else None
        self.bias = nn.Parameter(torch.zeros(width)) if width is not None and norm == "layer" else None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        return self._normed(self.attention(q, k, v, side))

    def advance(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next tokens in causal order, and the state behind them, of a rule that has one."""
        o, carried = self.attention.advance(q, k, v, state)
        return self._normed(o), carried

    def _normed(self, o_BHNV: Tensor) -> Tensor:
        o_BND = o_BHNV.transpose(1, 2).flatten(2)
        if self.width not in (None, o_BND.shape[-1]):
            raise ValueError(f"width must be that of all heads, {o_BND.shape[-1]}, not {self.width}")
        o_BND = norm(o_BND, self.norm, weight=self.weight, bias=self.bias, eps=self.eps)
        return o_BND.unflatten(-1, (o_BHNV.shape[1], -1)).transpose(1, 2)
