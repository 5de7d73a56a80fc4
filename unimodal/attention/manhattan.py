"""Manhattan attention: softmax attention on a lattice, less to what stands further away along rows and columns.

Source: Fan et al. 2024, arXiv:2309.11523, eq. 4 (whole), eq. 5 (decomposed); the decay inside of the softmax:
github.com/qhfan/RMT, classfication_release/RMT.py.
Axes: B batch, H heads, N tokens, K key width, V value width, P lattice axes, S sequences, R prefix tokens, L cells of
an axis, C others.
"""

from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.by_lattice import by_lattice
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.manhattan_decay import axis_decay, decay_rates, lattice_decay
from unimodal.masks import keys_within
from unimodal.side import Side

__all__ = ["ManhattanAttention"]

# Lines up to here get their decay as a dense bias, which torch's fused softmax takes; longer ones as diagonals.
SHORT = 512


class ManhattanAttention(nn.Module):
    """D_nm = log gamma_h (|x_n - x_m| + |y_n - y_m|), and

        bias       o = softmax(scale q k^T + D) v            (the released code: rows sum to one)
        multiply   o = (softmax(scale q k^T) * exp(D)) v     (the paper's equation: rows sum to less)

    The gammas are fixed numbers of the heads, so any lattice is read as it is: nothing is learned for a place and
    nothing is resampled. Prefix tokens stand nowhere and at distance 0 from all.

    Decomposed, attention goes along one axis after the other, the last one first, with the same q and k:
    v <- A_x v within each row, then o = A_y v within each column. The decays of the passes multiply to that of the
    whole form; the weights do not, for q k^T is no sum of a term a row and a term a column. A prefix token takes part
    in every row and every column, and gets the mean of what it gets there.

    Args:
        decay: ``bias`` or ``multiply``.
        decomposed: Whether attention goes axis by axis.
        initial: a, heads h of H have gamma_h = 1 - 2^-(a + r h / H).
        spread: r.
        scale: Factor on q k^T; None means 1 / sqrt(K). The paper's equation has none, its code has this one.

    Shapes:
        q, k: (B, H, N, K);  v: (B, H, N, V);  returns (B, H, N, V), of lattices with any number of axes.

    Raises:
        ValueError: an unknown ``decay``; gammas that are not within (0, 1]; there is no lattice, or it has another
            number of tokens; keys are not as many as queries, or have other heads; a memory is set; a mask, a bias or
            causal order is set for the decomposed form, or a mask or a bias in a packed batch.

    Cost: whole: O(B H N^2 (K + V)) time and O(H N^2) memory, of B H N^2 under ``multiply``; decomposed:
    O(B H N sum(sides) (K + V)) time and O(B H N) memory.
    """

    def __init__(
        self,
        *,
        decay: str = "bias",
        decomposed: bool = False,
        initial: float = 2.0,
        spread: float = 4.0,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if decay not in ("bias", "multiply"):
            raise ValueError(f"decay must be 'bias' or 'multiply', not {decay!r}")
        if initial <= 0 or initial + spread <= 0:
            raise ValueError(f"gamma = 1 - 2^-a must lie within (0, 1]: initial={initial}, spread={spread}")
        self.decay, self.decomposed, self.scale = decay, decomposed, scale
        self.initial, self.spread = initial, spread

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        if q.shape[:3] != k.shape[:3]:
            raise ValueError(f"tokens of one lattice attend to one another: q {tuple(q.shape)}, k {tuple(k.shape)}")
        if self.decomposed or side.cu_seqlens is not None:
            side.honour("lengths", "cu_seqlens", *(() if self.decomposed else ("causal",)))
            of_group = self._axis_by_axis if self.decomposed else self._whole
            own = Side(prefix=side.prefix, causal=side.causal)
            turned = (t.transpose(1, 2) for t in (q, k, v))
            return by_lattice(partial(of_group, own), side, *turned).transpose(1, 2)
        side.honour("mask", "bias", "causal", "lengths")
        return self._decayed(q, k, v, lattice_decay(self.rates(q), side, *q.shape[::2][:2]), side)

    def rates(self, q: Tensor) -> Tensor:
        """log gamma (H,) for the heads of q."""
        dtype = torch.promote_types(q.dtype, torch.float32)
        return torch.tensor(decay_rates(q.shape[1], self.initial, self.spread), dtype=dtype, device=q.device)

    def _whole(self, side: Side, grid: tuple[int, ...], *qkv_SNHK: Tensor) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in qkv_SNHK)
        side = side.replace(grid=grid)
        return self._decayed(q, k, v, lattice_decay(self.rates(q), side, len(q), q.shape[2]), side).transpose(1, 2)

    def _axis_by_axis(self, side: Side, grid: tuple[int, ...], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for axis in reversed(range(len(grid))):
            v = self._along(q, k, v, grid, axis, side.prefix)
        return v

    def _along(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, ...], axis: int, prefix: int) -> Tensor:
        """One pass over sequences (S, R + cells, H, K): attention within each line of the lattice along ``axis``."""

        def lines(x: Tensor) -> Tensor:  # (S C, H, R + L, K)
            own_SCLHK = (
                x[:, prefix:].unflatten(1, grid).movedim(1 + axis, -3).reshape(len(x), -1, grid[axis], *x.shape[2:])
            )
            if prefix:
                ahead = x[:, None, :prefix].expand(-1, own_SCLHK.shape[1], -1, -1, -1)
                own_SCLHK = torch.cat([ahead, own_SCLHK], 2)
            return own_SCLHK.flatten(0, 1).transpose(1, 2)

        q_line, k_line, v_line = lines(q), lines(k), lines(v)
        rates = self.rates(q_line)
        if prefix or (self.decay == "bias" and grid[axis] <= SHORT):
            one_line = Side(grid=(grid[axis],), prefix=prefix)
            decay = lattice_decay(rates, one_line, 1, q_line.shape[2])
            o = self._decayed(q_line, k_line, v_line, decay, one_line)
        else:
            o = self._in_lines(q_line, k_line, v_line, axis_decay(rates, grid[axis]))
        o_SCNHV = o.transpose(1, 2).unflatten(0, (len(q), -1))
        others = [n for i, n in enumerate(grid) if i != axis]
        lattice = o_SCNHV[:, :, prefix:].reshape(len(q), *others, grid[axis], *v.shape[2:])
        lattice = lattice.movedim(-3, 1 + axis).flatten(1, len(grid))
        return torch.cat([o_SCNHV[:, :, :prefix].mean(1), lattice], 1) if prefix else lattice

    def _in_lines(self, q: Tensor, k: Tensor, v: Tensor, decay_HO: Tensor) -> Tensor:
        """Lines are as independent as heads: as heads of one row they share the kernel's tiles."""
        q_1LNK, k_1LNK, v_1LNV = (t.flatten(0, 1)[None] for t in (q, k, v))
        rule, decay = Rule(scale=self.scale), decay_HO.repeat(len(q), 1)
        before, after = (decay, None) if self.decay == "bias" else (None, decay.exp())
        o = rule_attention(q_1LNK, k_1LNK, v_1LNV, rule, before=before, after=after)
        return o[0].unflatten(0, q.shape[:2])

    def _decayed(self, q: Tensor, k: Tensor, v: Tensor, decay_BHNM: Tensor, side: Side) -> Tensor:
        if self.decay == "bias":
            bias = decay_BHNM if side.bias is None else decay_BHNM + side.bias
            rule = Rule(causal=side.causal, scale=self.scale)
            return rule_attention(q, k, v, rule, bias=bias, mask=side.mask, lengths=side.lengths)
        wide = decay_BHNM.dtype
        logit = q.to(wide) @ k.to(wide).mT * (q.shape[-1] ** -0.5 if self.scale is None else self.scale)
        logit = logit if side.bias is None else logit + side.bias
        seen = torch.ones(logit.shape[2:], dtype=torch.bool, device=q.device)
        seen = seen.tril() if side.causal else seen
        seen = seen if side.mask is None else seen & side.mask
        seen = seen if side.lengths is None else seen & keys_within(side.lengths, k.shape[2])
        weight = logit.masked_fill(~seen, float("-inf")).softmax(-1).masked_fill(~seen, 0.0)  # NaN rows see no key
        return (weight * decay_BHNM.exp() @ v.to(wide)).to(v.dtype)
