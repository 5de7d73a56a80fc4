"""Batch norm: centre and scale each channel over all real tokens of a batch, in use with the averages of training.

Source: Ioffe & Szegedy 2015, arXiv:1502.03167, alg. 1 and 2; over the tokens of all sequences: Zerveas et al. 2020,
arXiv:2010.02803, sec. 3.1, and Nie et al. 2022, arXiv:2211.14730, sec. 3.1.
Axes: ... any leading axes, D channels.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.norm import norm
from unimodal.masks import keys_within
from unimodal.side import Side

__all__ = ["BatchNorm"]


class BatchNorm(nn.Module):
    """y = (x - mean_d) / sqrt(var_d + eps) * weight + bias, var without Bessel's correction.

    While training, mean and var are those of the batch's real tokens (padding does not count), and their running
    averages r <- (1 - momentum) r + momentum s are kept, with Bessel's correction for var as in torch. Otherwise the
    running averages stand for them, so that nothing depends on the rest of the batch and no constraint of the side
    can change anything: one factor and one shift a channel (:meth:`affine`), which the next linear map can take in.

    Args:
        dim: Channels D.
        eps: Added to the variance, in squared units of x.
        momentum: Share of a batch in the running averages.

    Shapes:
        x: (..., D), (B, N, D) with lengths;  returns (..., D) in x's dtype. Statistics are taken in float32 or finer.

    Raises:
        ValueError: while training, a mask or causal order is set (the statistics would see what is hidden), or there
            is one real token only.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        if self.training:
            h = x.to(dtype)
            mean_D, var_D = self._observed(h, side)
            return ((h - mean_D) * torch.rsqrt(var_D + self.eps) * self.weight + self.bias).to(x.dtype)
        gain_D = self.weight * torch.rsqrt(self.running_var.to(dtype) + self.eps)
        return norm(x, "affine", weight=gain_D, bias=self.bias - gain_D * self.running_mean)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Factor a and shift b of the norm in use, y = a x + b, each (D,) in float64."""
        factor_D = self.weight.double() / (self.running_var.double() + self.eps).sqrt()
        return factor_D, self.bias.double() - factor_D * self.running_mean.double()

    def _observed(self, h: Tensor, side: Side) -> tuple[Tensor, Tensor]:
        """Mean and variance of the real tokens; the running averages follow them."""
        side.honour("bias", "memory", "lengths", "cu_seqlens")  # bias and memory are between tokens, not in them
        if side.lengths is not None:
            h = h[keys_within(side.lengths, h.shape[-2])[:, 0, 0]]
        h_ND = h.flatten(0, -2)
        if len(h_ND) < 2:
            raise ValueError("batch norm needs more than one token to train on")
        mean_D, var_D = h_ND.mean(0), h_ND.var(0, correction=0)
        with torch.no_grad():
            spread_D = var_D * (len(h_ND) / (len(h_ND) - 1))
            self.running_mean.lerp_(mean_D.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(spread_D.to(self.running_var.dtype), self.momentum)
        return mean_D, var_D
