"""Token slices: cut each sequence into groups that become sequences of their own, and put them together again.

Source: Shen et al. 2021, arXiv:2111.05297 (sliced group self-attention, permutation and inverse permutation), as in
its code github.com/szq0214/SReT, SReT.py, Group_Attention.
Axes: B rows, N tokens, R prefix tokens, L lattice tokens (N - R), G groups, W tokens of the largest group, D width.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["TokenSlices"]


class TokenSlices(nn.Module):
    """Group g of G = tokens floor(g L / G) .. floor((g + 1) L / G) - 1 of a sequence's L lattice tokens.

    When permuted, tokens are first put into a random order, one for the whole batch; the same groups are then sets of
    tokens from anywhere. While training the order is drawn anew; in eval it is a fixed function of ``seed``, where the
    released code draws it there too, so its answers change from call to call. The order of tokens within a group stays
    that of the sequence, which attention alone would not notice, so that causal order keeps its meaning.

    Prefix tokens (the paper has none) are in front of every group; their outputs are averaged over the groups.

    Args:
        groups: G.
        permuted: Whether tokens are put into another order first.
        seed: Of the order in eval.

    Shapes:
        split: (B, N, D) to (B G, R + W, D) and their side;  join: the inverse, with zeros for padding.

    Raises:
        ValueError: ``groups`` is not positive, or a memory is set.
    """

    def __init__(self, *, groups: int, permuted: bool = False, seed: int = 0) -> None:
        super().__init__()
        if groups < 1:
            raise ValueError(f"groups must be positive, not {groups}")
        self.groups, self.permuted, self.seed = groups, permuted, seed

    def split(self, x: Tensor, side: Side) -> tuple[Tensor, Side, "_Cut"]:
        """Each group as a row, the side of these rows, and what :meth:`join` needs to know."""
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        packed = side.cu_seqlens is not None
        rows = Tokens(x, side).padded()
        x, side = rows.x, rows.side
        tokens, whole = x.shape[1] - side.prefix, side.lengths is None
        place_BGW, size_BG = self._places(tokens, side, x.device)
        lattice = x[:, side.prefix :]
        if not self.permuted and whole and tokens % self.groups == 0:
            cut_BGWD = lattice.unflatten(1, (self.groups, -1))
        else:
            row_B11 = tokens * torch.arange(len(x), device=x.device)[:, None, None]
            cut_BGWD = lattice.flatten(0, 1)[place_BGW.clamp(max=max(tokens - 1, 0)) + row_B11]
        front_BGRD = x[:, None, : side.prefix].expand(-1, self.groups, -1, -1)
        of_rows = Side(
            prefix=side.prefix,
            mask=self._pairs(side.mask, place_BGW, side.prefix, len(x)),
            bias=self._pairs(side.bias, place_BGW, side.prefix, len(x)),
            causal=side.causal,
            lengths=None
            if whole and tokens % self.groups == 0
            else (size_BG + side.prefix).expand(len(x), -1).flatten(),
        )
        cut = _Cut(place_BGW.expand(len(x), -1, -1), side, tokens, packed)
        return torch.cat([front_BGRD, cut_BGWD], 2).flatten(0, 1), of_rows, cut

    def join(self, rows: Tensor, cut: "_Cut") -> Tensor:
        """The rows' tokens where :meth:`split` took them from."""
        rows_BGND, prefix = rows.unflatten(0, (-1, self.groups)), cut.side.prefix
        y_BQD = rows_BGND[:, :, prefix:].flatten(1, 2)
        from_BQ = torch.arange(y_BQD.shape[1], device=rows.device).expand(len(y_BQD), -1)
        back_BL = from_BQ.new_full((len(y_BQD), cut.tokens + 1), -1).scatter(1, cut.place.flatten(1), from_BQ)[:, :-1]
        row_B1 = y_BQD.shape[1] * torch.arange(len(y_BQD), device=rows.device)[:, None]
        y_BLD = y_BQD.flatten(0, 1)[back_BL.clamp(min=0) + row_B1]
        y_BLD = y_BLD if cut.side.lengths is None else y_BLD.masked_fill((back_BL < 0)[..., None], 0.0)
        y = torch.cat([rows_BGND[:, :, :prefix].mean(1), y_BLD], 1) if prefix else y_BLD
        return Tokens(y, cut.side.replace(mask=None, bias=None)).packed().x if cut.packed else y

    def _places(self, tokens: int, side: Side, device: torch.device) -> tuple[Tensor, Tensor]:
        """(B or 1, G, W) the tokens of each group in ascending order, ``tokens`` behind its last; (B or 1, G) sizes."""
        length_B1 = torch.tensor([[tokens]], device=device)
        if side.lengths is not None:
            length_B1 = side.lengths[:, None].to(torch.int64) - side.prefix
        edge_BG = torch.arange(self.groups + 1, device=device) * length_B1 // self.groups
        rank_BGW = edge_BG[:, :-1, None] + torch.arange(-(-tokens // self.groups), device=device)
        place_BGW = rank_BGW
        if self.permuted and tokens:
            key_N = self._keys(tokens, device)
            own_BN = torch.arange(tokens, device=device) < length_B1
            order_BN = key_N.expand_as(own_BN).masked_fill(~own_BN, torch.iinfo(torch.int64).max).argsort(-1)
            place_BGW = order_BN.gather(1, rank_BGW.clamp(max=tokens - 1).flatten(1)).view_as(rank_BGW)
        place_BGW = torch.where(rank_BGW < edge_BG[:, 1:, None], place_BGW, tokens)
        return place_BGW.sort(-1).values if self.permuted else place_BGW, edge_BG.diff()

    def _keys(self, tokens: int, device: torch.device) -> Tensor:
        """(N,) different whole numbers; sorting by them is the permutation, of a shorter sequence too."""
        if self.training:
            return torch.randperm(tokens, device=device)
        key_N = (torch.arange(tokens, device=device) + self.seed * 0x9E3779B9) & 0xFFFFFFFF
        for _ in range(2):  # each step is one-to-one on 32 bits, so no two tokens share a key
            key_N = ((key_N ^ (key_N >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
        return key_N ^ (key_N >> 16)

    def _pairs(self, term: Tensor | None, place_BGW: Tensor, prefix: int, rows: int) -> Tensor | None:
        """A mask or bias (B, H, N, N), up to broadcasting, for the pairs of each group: (B G, H, R + W, R + W)."""
        if term is None:
            return None
        front = torch.arange(prefix, device=term.device).expand(*place_BGW.shape[:2], -1)
        at_BGQ = torch.cat([front, place_BGW + prefix], -1)
        term_BGHNM = (
            term[(None,) * (4 - term.ndim)].expand(rows, -1, -1, -1)[:, None].expand(-1, self.groups, -1, -1, -1)
        )
        for axis, at in ((3, at_BGQ[:, :, None, :, None]), (4, at_BGQ[:, :, None, None, :])):
            tokens = term_BGHNM.shape[axis]
            if tokens > 1:
                sizes = [*term_BGHNM.shape]
                sizes[axis] = at_BGQ.shape[-1]
                term_BGHNM = term_BGHNM.gather(axis, at.clamp(max=tokens - 1).expand(sizes))
        return term_BGHNM.flatten(0, 1)


@dataclass(frozen=True)
class _Cut:
    """``place`` (B, G, W): which of the lattice's ``tokens`` a group has, ``tokens`` itself behind its last one."""

    place: Tensor
    side: Side
    tokens: int
    packed: bool
