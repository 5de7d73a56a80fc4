"""Global response norm: channels compete by how strong each one is over the whole sequence.

Source: Woo et al. 2023, arXiv:2301.00808, eq. 1-3 and alg. 1.
Axes: B rows, N tokens, S sequences, D channels.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.of_each_sequence import at_their_tokens, of_each_sequence
from unimodal.side import Side

__all__ = ["GlobalResponseNorm"]


class GlobalResponseNorm(nn.Module):
    """y = (weight G / (mean_d(G) + eps) + 1) x + bias, G_d = sqrt(sum_n x_nd^2) over a sequence's tokens.

    The 1 is the norm's own residual: weight and bias start at zero, where the norm does nothing. G grows with the
    number of tokens, but its quotient by the mean over channels does not. Prefix tokens count as others; padding does
    not. G is taken in float32 or finer.

    Args:
        dim: Channels D.
        eps: Added to the mean of G, in units of x.
        bias: Whether there is an additive term.

    Shapes:
        x: (B, N, D);  returns (B, N, D) in x's dtype.

    Raises:
        ValueError: a mask, bias, memory or causal order is set (G sees all tokens).
    """

    def __init__(self, dim: int, *, eps: float = 1e-6, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        dtype = torch.promote_types(x.dtype, torch.float32)
        square_SD = of_each_sequence(lambda x_SND: x_SND.to(dtype).square().sum(1), x, side)
        length_SD = square_SD.clamp_min(torch.finfo(dtype).tiny).sqrt()  # the root's slope at 0 is infinite
        share_SD = length_SD / (length_SD.mean(-1, keepdim=True) + self.eps)
        gain = at_their_tokens((self.weight * share_SD + 1.0).to(x.dtype), side)
        return x * gain if self.bias is None else torch.addcmul(self.bias, x, gain)

    def unshifted(self) -> tuple["GlobalResponseNorm", Tensor]:
        """This norm without its additive term, and that term (D,), for the linear map behind to take in."""
        made = GlobalResponseNorm(len(self.weight), eps=self.eps, bias=False).to(self.weight)
        with torch.no_grad():
            made.weight.copy_(self.weight)
        shift_D = torch.zeros_like(self.weight) if self.bias is None else self.bias.detach()
        return made.train(self.training), shift_D
