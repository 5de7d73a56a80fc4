"""One chunk of causal linear attention: its values, the state behind it, and the way back through both.

Source: Sun et al. 2023, arXiv:2307.08621, eq. 7.
Axes: L heads at once, C tokens of the chunk, K key width, V value width.
"""

import torch
from torch import Tensor

__all__ = ["Chunk", "Decay"]


class Decay:
    """Powers of the heads' factors g: (L, C + 1, 1), and g^(i-j) for j <= i, else 0 (L, C, C)."""

    def __init__(self, log_L: Tensor, dtype: torch.dtype, longest: int) -> None:
        place = torch.arange(longest + 1, device=log_L.device)
        log_L11 = log_L.double()[:, None, None]
        self.powers = (log_L11 * place[:, None]).exp().to(dtype)
        offset_CC = (place[:longest, None] - place[:longest]).clamp_min(0)
        self.pairs = (log_L11 * offset_CC).exp().tril_().to(dtype)


class Chunk:
    """Features of queries and keys, values, and the decay of each head or None.

    With A_ij = g^(i-j) q_i k_j for j <= i: o = A v + g^(i+1) q S, and S' = g^C S + sum_j g^(C-1-j) k_j v_j.

    Shapes:
        q, k: (L, C, K);  v: (L, C, V);  states: (L, K, V).
    """

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, decay: Decay | None) -> None:
        self.q, self.k, self.v, self.decay, self.size = q, k, v, decay, q.shape[1]

    def values(self, state: Tensor) -> Tensor:
        return torch.bmm(self._scores(self.q, self.k), self.v).baddbmm_(self._grown(self.q), state)

    def advance(self, state: Tensor) -> None:
        """``state`` becomes the one behind the chunk."""
        self._shrink(state).baddbmm_(self._fading(self.k).mT, self.v)

    def pull_back(self, grad: Tensor, state: Tensor, pulled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of q, k and v; ``pulled``, that of the state behind the chunk, becomes that before it."""
        score_LCC, of_score_LCC = self._scores(self.q, self.k), self._scores(grad, self.v)
        of_v = torch.bmm(score_LCC.mT, grad).baddbmm_(self._fading(self.k), pulled)
        of_q = torch.bmm(of_score_LCC, self.k).add_(self._grown(torch.bmm(grad, state.mT)))
        of_k = torch.bmm(of_score_LCC.mT, self.q).add_(self._fading(torch.bmm(self.v, pulled.mT)))
        self._shrink(pulled).baddbmm_(self._grown(self.q).mT, grad)
        return of_q, of_k, of_v

    def of_decay(self, of_q: Tensor, of_k: Tensor) -> Tensor:
        """sum_i i q_i dq_i - sum_j j k_j dk_j of each head, in float64."""
        shares_LC = (self.q * of_q).sum(-1) - (self.k * of_k).sum(-1)
        return shares_LC.double() @ torch.arange(self.size, dtype=torch.float64, device=of_q.device)

    def _scores(self, x: Tensor, y: Tensor) -> Tensor:
        """x_i y_j g^(i-j) for j <= i, else 0."""
        score_LCC = torch.bmm(x, y.mT)
        return (
            score_LCC.tril_() if self.decay is None else score_LCC.mul_(self.decay.pairs[:, : self.size, : self.size])
        )

    def _grown(self, x: Tensor) -> Tensor:
        """g^(i+1) x_i: as far as the state before the chunk is."""
        return x if self.decay is None else x * self.decay.powers[:, 1 : self.size + 1]

    def _fading(self, x: Tensor) -> Tensor:
        """g^(C-1-j) x_j: as far as the last token is."""
        return x if self.decay is None else x * self.decay.powers[:, : self.size].flip(1)

    def _shrink(self, state: Tensor) -> Tensor:
        return state if self.decay is None else state.mul_(self.decay.powers[:, self.size : self.size + 1])
