"""Manhattan: attention that decays with the distance on the lattice, and a convolution of the values beside it.

Source: Fan et al. 2024, arXiv:2309.11523, sec. 3.2 (MaSA and its local context enhancement); the turn of queries and
keys: github.com/qhfan/RMT, classfication_release/RMT.py (``theta_shift``).
Axes: B batch, N tokens, D width, H heads, G heads of queries and of keys (2 H), K head width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.manhattan import ManhattanAttention
from unimodal.lattice import over_tokens
from unimodal.lattice_convolution import convolve_lattice
from unimodal.part import Part
from unimodal.positions.rotary import Rotary
from unimodal.side import Side

__all__ = ["Manhattan"]


class Manhattan(nn.Module):
    """y = W_o (concat_h attention(turned W_q x, turned W_k x, W_v x) + conv(W_v x)).

    Pairs of query and key channels are turned by the angle i 10000^(-j / (K/2 - 1)), j = 0 .. K/2 - 1, at the i-th
    cell of the lattice in C order. A pair is channel j and j + K/2, in the released code neighbours 2j and 2j + 1,
    which is the same up to a permutation of channels. The convolution is depth-wise and without the prefix, which gets
    nothing from it. One fused projection holds W_q, W_k, W_v, in this order.

    The released code gives all blocks of a stage one pair of numbers for their decays, here each attention part has
    its own; and it draws W_q, W_k and W_v smaller, which its models then overwrite.

    Args:
        dim: Width D.
        heads: H.
        attention: The attention rule; its numbers say how fast the heads decay.
        kernel: Side of the convolution (cells), odd.
        bias: Whether the query, key and value projection has a bias.

    Shapes:
        x: (B, N, D) on a lattice of two axes;  returns (B, N, D).

    Raises:
        ValueError: heads do not divide dim or leave an odd head width; the kernel is even; the side has no lattice of
            two axes; a mask, memory or causal order is set (the convolution sees all around it); or what the
            attention rule refuses.

    Cost: that of the attention rule and O(B N D (D + kernel^2)).
    """

    def __init__(
        self, dim: int, *, heads: int, attention: Part = Part(ManhattanAttention), kernel: int = 5, bias: bool = True
    ) -> None:
        super().__init__()
        if dim % heads or dim // heads % 2:
            raise ValueError(f"dim {dim} over heads {heads} must be an even head width")
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd to have a middle, not {kernel}")
        self.heads, pairs = heads, dim // heads // 2
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.position = Rotary(dim // heads, base=10_000.0 ** (pairs / max(pairs - 1, 1)))
        self.attention = attention()
        self.around = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("bias", "lengths", "cu_seqlens")
        q_k, v = self.to_qkv(x).tensor_split([2 * x.shape[-1]], dim=-1)
        qk_BGNK, v_BHNK = (t.unflatten(-1, (-1, x.shape[-1] // self.heads)).transpose(1, 2) for t in (q_k, v))
        numbered = side.replace(positions=over_tokens(lambda grid: _number(grid, x.device), side, *x.shape[:2]))
        q_BHNK, k_BHNK = self.position(qk_BGNK, numbered).chunk(2, dim=1)  # both are turned by the same angles
        o = self.attention(q_BHNK, k_BHNK, v_BHNK, side).transpose(1, 2).flatten(2)
        return self.to_out(o + convolve_lattice(self.around, v, side))


def _number(grid: tuple[int, ...], device: torch.device) -> Tensor:
    """The cells' places (L, 1) in C order."""
    if len(grid) != 2:
        raise ValueError(f"a lattice of two axes is needed here, not {grid}")
    return torch.arange(grid[0] * grid[1], dtype=torch.float32, device=device)[:, None]
