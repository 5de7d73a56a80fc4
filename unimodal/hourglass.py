"""Hourglass: blocks that only the most looked-at tokens go through; the rest gets what a summary of it got.

Source: Xu et al. 2021, arXiv:2108.01390 (Evo-ViT: slow and fast updates by the class token's attention); in a pyramid:
Li et al. 2022, arXiv:2201.09450, and its code github.com/Sense-X/UniFormer,
image_classification/models/uniformer_light.py.
Axes: B rows, N lattice tokens, K kept ones, D width.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.block import Block
from unimodal.by_lattice import by_lattice
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["Hourglass"]


class Hourglass(nn.Module):
    """For each block, with class token c, scores s and the K highest scores' tokens T:

        r = sum_(j not in T) s_j x_j / sum_(j not in T) s_j
        c, y, r' = block(c, x_T, r);   x_T = y;   x_j = x_j + r' - r for the rest
        s_T = (1 - a) s_T + a p,   p how much c attends to x_T in this block, averaged over heads

    All keep their places. A token of the rest is not looked at, so its score stays, and it comes back once those of
    others have fallen below it. Without scores (a first stage's first block) all tokens go through and s = p; so they
    do where one alone would be left, whose summary is itself. The scores go on with the tokens as ``side.score``.

    Stochastic depth leaves out the rest's update with that of its summary; in the released code it never does.

    Args:
        dim: Width D.
        blocks: Blocks with pre-norm, whose mixer is :class:`~unimodal.mixers.full.Full` by softmax.
        position: In front of each block and for lattice tokens alone, made anew for each; or None.
        kept: K / N, rounded down.
        trade_off: a.

    Shapes:
        tokens: x (B, 1 + N, D), a class token in front of a lattice;  returns Tokens with x (B, 1 + N, D) and
            side.score (B, 1 + N), that of the class token 0.

    Raises:
        ValueError: no blocks, or one of another kind; kept or trade_off outside 0..1; the tokens have other than one
            prefix token or no lattice; a mask, bias, memory or causal order is set; a depth asked of
            :meth:`features` does not exist; what the parts refuse.

    Cost: that of the blocks for 2 + K tokens.
    """

    def __init__(
        self,
        dim: int,
        *,
        blocks: tuple[Part, ...],
        position: Part | None = None,
        kept: float = 0.5,
        trade_off: float = 0.5,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks must have at least one part")
        for name, value in (("kept", kept), ("trade_off", trade_off)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is a share from 0 to 1, not {value}")
        self.kept, self.trade_off, self.depth = kept, trade_off, len(blocks)
        self.positions = nn.ModuleList(nn.Identity() if position is None else position(dim) for _ in blocks)
        self.blocks = nn.ModuleList(block(dim) for block in blocks)
        for block in self.blocks:
            if not (isinstance(block, Block) and block.layout == "pre" and isinstance(block.mixer, Full)):
                raise ValueError(f"blocks must be of the kind Block, pre-norm and with the mixer Full, not {block}")

    def forward(self, tokens: Tokens) -> Tokens:
        return self._run(tokens, 0, self.depth)

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        """The tokens after each of ``depths`` blocks (0 = before the first), with their scores by then."""
        if list(depths) != sorted(d for d in depths if 0 <= d <= self.depth):
            raise ValueError(f"depths must ascend within 0..{self.depth}, not {list(depths)}")
        kept, last = [], 0
        for depth in depths:
            tokens, last = self._run(tokens, last, depth) if depth > last else tokens, depth
            kept.append(tokens)
        return kept

    def _run(self, tokens: Tokens, first: int, last: int) -> Tokens:
        side = tokens.side.honour("lengths", "cu_seqlens")
        if side.prefix != 1:
            raise ValueError(f"one class token in front of the lattice is needed here, not {side.prefix}")
        scores = () if side.score is None else (side.score[..., None],)
        made = by_lattice(partial(self._through, range(first, last)), side, tokens.x, *scores)
        return tokens.replace(made[..., :-1].to(tokens.x.dtype).contiguous(), score=made[..., -1])

    def _through(self, depths: range, grid: tuple[int, ...], x: Tensor, *scores: Tensor) -> Tensor:
        """The tokens of one lattice with their scores as a last channel."""
        c_B1D, x_BND = x.split([1, x.shape[1] - 1], 1)
        score_BN = scores[0][:, 1:, 0] if scores else None
        for i in depths:
            position = self.positions[i]
            x_BND = x_BND if isinstance(position, nn.Identity) else position(x_BND, Side(grid=grid))
            c_B1D, x_BND, score_BN = self._updated(self.blocks[i], c_B1D, x_BND, score_BN)
        assert score_BN is not None  # there is at least one block
        return torch.cat([torch.cat([c_B1D, x_BND], 1), F.pad(score_BN, (1, 0))[..., None]], -1)

    def _updated(
        self, block: Any, c_B1D: Tensor, x_BND: Tensor, score_BN: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = x_BND.shape[1]
        kept = count if score_BN is None else int(count * self.kept)
        if score_BN is None or count - kept < 2:
            y, looked_BN = _looked(block, torch.cat([c_B1D, x_BND], 1))
            score_BN = looked_BN if score_BN is None else score_BN.lerp(looked_BN, self.trade_off)
            return y[:, :1], y[:, 1:], score_BN
        place_BK = score_BN.topk(kept, sorted=False).indices
        place_BKD = place_BK[..., None].expand(-1, -1, x_BND.shape[2])
        rest_BN = score_BN.scatter(1, place_BK, 0.0)
        rest_BN = rest_BN / rest_BN.sum(1, keepdim=True).clamp_min(torch.finfo(rest_BN.dtype).tiny)
        summary_B1D = rest_BN[:, None].to(x_BND.dtype) @ x_BND
        y, looked = _looked(block, torch.cat([c_B1D, x_BND.gather(1, place_BKD), summary_B1D], 1))
        x_BND = (x_BND + (y[:, -1:] - summary_B1D)).scatter(1, place_BKD, y[:, 1:-1])
        looked_BK = score_BN.gather(1, place_BK).lerp(looked[:, :-1], self.trade_off)
        return y[:, :1], x_BND, score_BN.scatter(1, place_BK, looked_BK)


def _looked(block: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """What the block makes of a class token and others, and how much it attends to each of the others."""
    return block(z), block.mixer.first_weights(block.norm_mixer(z))[:, 1:]
