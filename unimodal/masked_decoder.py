"""Masked decoder: visible tokens and one learned token for every hidden one, at their places, predict patches.

Source: He et al. 2021, arXiv:2111.06377, sec. 3 ("MAE decoder") and table 1 (8 blocks, width 512); a position and
a predictor for pictures and one for volumes: Cai et al. 2022, arXiv:2203.04614, as in the follow-up's released code,
github.com/Davidczy/Uni4Eye_pp, models_mymae23D.py.
Axes: B inputs, N patches, V visible ones, R prefix tokens, D width of the encoder, W width of the decoder, K values of
a patch.
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.sincos import SinCos
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["MaskedDecoder"]

_BLOCK = Part(Block, mixer=Part(Full, heads=16), ffn=Part(Plain))


class MaskedDecoder(nn.Module):
    """patches = predict_k(core(place_k([E x_visible, m, m, ...] back in their order))).

    The core, the map E and the mask token m serve every kind k of patch; places and predictors are its own. A kind is
    the shape of a patch: (channels, rows, columns) or (channels, slices, rows, columns).

    Args:
        dim: Width D of the encoder.
        patches: The kinds.
        width: W.
        core: Blocks and a norm.
        position: Acts on tokens, by their lattice.

    Shapes:
        visible.x: (B, R + V, D), with side.prefix R;  order: (B, N) places, those of the visible tokens in front;
            returns (B, N, K), K the size of the kind.

    Raises:
        ValueError: a kind is not three or four positive numbers or comes twice, ``position`` acts on heads, the kind
            of a call is unknown, or the grid has not N cells.
    """

    def __init__(
        self,
        dim: int,
        *,
        patches: Sequence[tuple[int, ...]] = ((3, 16, 16), (1, 16, 16, 16)),
        width: int = 512,
        core: Part = Part(Transformer, depth=8, blocks=_BLOCK, norm=Part(LayerNorm)),
        position: Part = Part(SinCos),
    ) -> None:
        super().__init__()
        kinds = [tuple(kind) for kind in patches]
        if not kinds or any(len(kind) not in (3, 4) or min(kind) < 1 for kind in kinds):
            raise ValueError(f"patches must be shapes (channels, rows, columns) or of four numbers, not {patches!r}")
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"patches must differ, not {patches!r}")
        self.embed = nn.Linear(dim, width)
        self.hidden = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.hidden, std=0.02)
        self.position = nn.ModuleDict({_name(kind): position(width) for kind in kinds})
        if any(getattr(part, "applies_to", "heads") != "tokens" for part in self.position.values()):
            raise ValueError(f"position {position.cls.__name__} acts on heads, not on tokens")
        self.core = core(width)
        self.predict = nn.ModuleDict({_name(kind): nn.Linear(width, prod(kind)) for kind in kinds})

    def forward(self, visible: Tokens, order: Tensor, grid: tuple[int, ...], kind: tuple[int, ...]) -> Tensor:
        name, prefix, (rows, count) = _name(kind), visible.side.prefix, order.shape
        if name not in self.predict:
            raise ValueError(f"patches of {name} are unknown here; there are {', '.join(self.predict)}")
        if prod(grid) != count:
            raise ValueError(f"a grid {grid} has {prod(grid)} cells, and the order {count} places")
        x = self.embed(visible.x)
        hidden = self.hidden.to(x.dtype).expand(rows, prefix + count - x.shape[1], -1)
        shuffled = torch.cat([x[:, prefix:], hidden], 1)
        back = order.argsort(1)[..., None].expand(-1, -1, x.shape[-1])
        side = Side(grid=tuple(grid), prefix=prefix)
        x = self.position[name](torch.cat([x[:, :prefix], shuffled.gather(1, back)], 1), side)
        return self.predict[name](self.core(Tokens(x, side)).x[:, prefix:])


def _name(kind: Sequence[int]) -> str:
    return "x".join(map(str, kind))
