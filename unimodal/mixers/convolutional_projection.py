"""Convolutional projection: queries, keys and values see their neighbours before they meet, keys every other cell.

Source: Wu et al. 2021, arXiv:2103.15808, sec. 3.2; its released configurations as in transformers, models/cvt.
Axes: B batch, N tokens, M keys, D width, H heads, K head width, R prefix tokens, S sequences of one lattice.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.by_lattice import by_lattice
from unimodal.chain import Chain
from unimodal.downsampling import Downsampling
from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["ConvolutionalProjection"]


class ConvolutionalProjection(nn.Module):
    """y = W_o concat_h attention(W_q f_q(x), W_k f_k(x), W_v f_v(x)), f = norm(depth-wise convolution).

    f_q keeps the lattice; f_k and f_v have a stride, so there are fewer keys than queries. Prefix tokens are off the
    lattice: they skip f and are queries and keys as they are, in front of the others. So a norm in use goes into its
    convolution (:func:`~unimodal.reparameterize.reparameterize`), but not into W.

    The released models scale the products by D^-1/2 and not by the heads' K^-1/2, which
    ``attention=Part(SoftmaxAttention, scale=...)`` says. While training, lattices of different sizes in one batch have
    statistics of their own in the norms.

    Args:
        dim: Width D.
        heads: H.
        kernel: Side of the convolutions in cells, odd.
        key_stride: Stride of f_k and f_v in cells.
        bias: Whether the three maps have biases.
        attention: The attention rule.
        norm: Behind each convolution.

    Shapes:
        x: (B, R + N, D) on a lattice of two axes;  returns (B, R + N, D).

    Raises:
        ValueError: heads do not divide; the kernel is even; the stride is not positive; the side has no lattice of two
            axes; a mask, bias, memory or causal order is set, for there is one key for several tokens; what the
            attention rule refuses.

    Cost: O(B N (R + N / key_stride^2) D) for the attention, O(B N D (D + kernel^2)) besides.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        kernel: int = 3,
        key_stride: int = 2,
        bias: bool = True,
        attention: Part = Part(SoftmaxAttention),
        norm: Part = Part(BatchNorm),
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}")
        if key_stride < 1:
            raise ValueError(f"key_stride must be positive, not {key_stride}")
        self.heads = heads
        self.around_q = Chain(dim, parts=(Part(Depthwise, kernel=kernel, bias=False), norm))
        reduce = Part(Downsampling, width=dim, kernel=kernel, stride=key_stride, groups=dim, behind=norm, bias=False)
        self.around_k, self.around_v = reduce(dim), reduce(dim)
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim, bias=bias) for _ in range(3))
        self.attention = attention()
        self.to_out = nn.Linear(dim, dim)
        for layer in (self.to_q, self.to_k, self.to_v, self.to_out):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")

        def of_group(grid: tuple[int, ...], x_SND: Tensor) -> Tensor:
            ahead, lattice = x_SND[:, : side.prefix], Tokens(x_SND[:, side.prefix :], Side(grid=grid))
            seen = (self.around_q(lattice.x, lattice.side), self.around_k(lattice).x, self.around_v(lattice).x)
            seen = [torch.cat([ahead, h_SND], 1) for h_SND in seen] if side.prefix else seen
            maps = zip((self.to_q, self.to_k, self.to_v), seen, strict=True)
            q, k, v = (to(h_SND).unflatten(-1, (self.heads, -1)).transpose(1, 2) for to, h_SND in maps)
            o_SHNK = self.attention(q, k, v, Side(grid=grid, prefix=side.prefix))
            return self.to_out(o_SHNK.transpose(1, 2).flatten(2))

        return by_lattice(of_group, side, x)
