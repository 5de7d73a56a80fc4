"""Unified norm: scale each channel by a mean square that several steps of training agree on, which folds away in use.

Source: Yang et al. 2022, arXiv:2208.01313, sec. 3 (geometric mean over a window, averaged gradient statistics, outlier
filtration); the released code for what the paper leaves open.
Axes: ... any leading axes, D channels, M steps of a window.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.norm import norm
from unimodal.masks import keys_within
from unimodal.side import Side

__all__ = ["UnifiedNorm"]

EARLIEST_RATIO, RATIOS = 1000, (0.2, 5.0)  # steps before the ratio of scales enters the gradient, and its bounds


class UnifiedNorm(nn.Module):
    """y = x / sqrt(v + eps) * weight + bias with one v a channel; nothing is centred.

    While training, with s_t the mean square of step t's real tokens and r the running average,

        v_t = exp(mean of log s over the last M steps)        the geometric mean, which one large s hardly moves
        r <- decay r + (1 - decay) v_t
        rho = sqrt(v_t + eps) / sqrt(r + eps), r as before the step, kept within 1/5 and 5

    and the gradient is not that of this equation, in which v_t would depend on M batches, but with g = dy weight rho,
    z = x / sqrt(v_t + eps) and psi_t the mean of g z over the real tokens

        Psi <- decay Psi + (1 - decay) (mean of psi over the last M steps),   dx = (g - Psi z) / sqrt(v_t + eps)
        dweight = sum of dy rho z,   dbias = sum of dy.

    In the first ``warmup`` steps (and the first M) s_t stands for v_t and psi_t for the mean of psi; rho is 1 for 1000
    steps at least. When ``filtered``, a batch is an outlier if in any channel the arithmetic mean of the window exceeds
    the geometric one by more than M var(sqrt(s)), taken over the whole window before this step: then s_t stands for
    v_t, r takes its place in the window, rho is 1, psi_t stands for Psi, and Psi for psi_t in its window. With a window
    of one step every batch is taken like that, and the gradient is the true one.

    In use v is r: one factor a channel (:meth:`affine`), which the next linear map can take in.

    The released code counts padding in the mean of g z and subtracts Psi z from the padding's gradient too; here
    padding has no part in either.

    Args:
        dim: Channels D.
        window: Steps M of both windows, or (of the forward pass, of the backward pass).
        warmup: Steps before the windows are used; those of one model go by one forward pass each.
        filtered: Whether outliers are left out of the windows (the released code: in vision yes, in language no).
        decay: Share of the old value in the running averages.
        eps: Added to v, in squared units of x.

    Shapes:
        x: (..., D), (B, N, D) with lengths;  returns (..., D) in x's dtype. Statistics are taken in float32 or finer.

    Raises:
        ValueError: a window or decay that makes no average, or a negative warmup; while training, a mask or causal
            order is set (the statistics would see what is hidden), or there is no real token.
    """

    running_square: Tensor
    running_slope: Tensor
    squares: Tensor
    slopes: Tensor
    step: Tensor
    outliers: Tensor

    def __init__(
        self,
        dim: int,
        *,
        window: int | tuple[int, int] = 4,
        warmup: int = 4000,
        filtered: bool = False,
        decay: float = 0.9,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        steps, back = (window, window) if isinstance(window, int) else window
        if min(steps, back) < 1 or warmup < 0 or not 0.0 <= decay < 1.0:
            raise ValueError(
                "window must be positive, warmup not negative and decay in [0, 1), "
                f"not window={window}, warmup={warmup}, decay={decay}"
            )
        self.warmup, self.filtered, self.decay, self.eps = warmup, filtered, decay, eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_square", torch.ones(dim))
        self.register_buffer("running_slope", torch.zeros(dim))
        self.register_buffer("squares", torch.zeros(steps, dim))
        self.register_buffer("slopes", torch.zeros(back, dim))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.register_buffer("outliers", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        if not self.training:
            return norm(
                x, "affine", weight=self.weight * (self.running_square.to(dtype) + self.eps).rsqrt(), bias=self.bias
            )
        side.honour("bias", "memory", "lengths", "cu_seqlens")  # bias and memory are between tokens, not in them
        real = None if side.lengths is None else keys_within(side.lengths, x.shape[-2])[:, 0, 0]
        h = x.to(dtype)
        with torch.no_grad():
            square, ratio, alone = self._observe((h if real is None else h[real]).flatten(0, -2))
        scale = (square + self.eps).rsqrt()
        y = _Averaged.apply(h, self.weight, self.bias, scale, ratio, real, alone, self.step.clone(), self)
        return y.to(x.dtype)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Factor a and shift b of the norm in use, y = a x + b, each (D,) in float64."""
        return self.weight.double() / (self.running_square.double() + self.eps).sqrt(), self.bias.double()

    def _observe(self, h_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """v, rho and whether this batch stands alone; the state goes one step on."""
        if not len(h_ND):
            raise ValueError("unified norm needs a real token to train on")
        steps, running = len(self.squares), self.running_square.to(h_ND.dtype)
        self.step += 1
        now_D, window, at = h_ND.square().mean(0), self.squares.to(h_ND.dtype), (self.step % steps)[None]
        spread = window.sqrt().var() if window.numel() > 1 else window.new_zeros(())
        window = window.index_copy(0, at, now_D[None])
        smooth_D = window.log().mean(0).exp()
        alone = torch.full_like(self.step, steps == 1, dtype=torch.bool)
        if self.filtered:
            outlier = (self.step >= self.warmup) & (window.mean(0) - smooth_D > steps * spread).any()
            window = torch.where(outlier, window.index_copy(0, at, running[None]), window)
            self.outliers += outlier
            alone = alone | outlier
        early = (self.step <= steps) | (self.step < self.warmup)
        v_D = torch.where(early | alone, now_D, smooth_D)
        ratio_D = ((v_D + self.eps).sqrt() / (running + self.eps).sqrt()).clamp(*RATIOS)
        ratio_D = torch.where(alone | (self.step <= max(EARLIEST_RATIO, self.warmup)), 1.0, ratio_D)
        self.squares.copy_(window)
        self.running_square.copy_(self.decay * running + (1.0 - self.decay) * v_D)
        return v_D, ratio_D, alone

    def _slope(self, now_D: Tensor, step: Tensor, alone: Tensor) -> Tensor:
        """Psi, or what stands for it, of the pass that was the ``step``-th forward; the state goes on."""
        steps, running = len(self.slopes), self.running_slope.to(now_D.dtype)
        window = self.slopes.to(now_D.dtype)
        window = window.index_copy(0, (step % steps)[None], torch.where(alone, running, now_D)[None])
        early = (step <= steps) | (step < self.warmup)
        mean_D = torch.where(early | alone, now_D, window.mean(0))
        running = self.decay * running + (1.0 - self.decay) * mean_D
        self.slopes.copy_(window)
        self.running_slope.copy_(running)
        return torch.where(alone, mean_D, running)


class _Averaged(torch.autograd.Function):
    """x scale weight + bias, with the gradient of the class's docstring; its statistics are kept in the norm."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        ratio: Tensor,
        real: Tensor | None,
        alone: Tensor,
        step: Tensor,
        norm: UnifiedNorm,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, scale, ratio, real, alone, step)
        ctx.norm = norm
        return torch.addcmul(bias, x, scale * weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, scale, ratio, real, alone, step = ctx.saved_tensors
        z = x * scale
        g, along = grad * (weight * ratio), grad * z
        of_weight_D, of_bias_D = along.flatten(0, -2).sum(0) * ratio, grad.flatten(0, -2).sum(0)
        real_ND = (along if real is None else along[real]).flatten(0, -2)
        slope_D = ctx.norm._slope(real_ND.mean(0) * weight * ratio, step, alone)
        drag = slope_D * z
        of_x = (g - (drag if real is None else drag.masked_fill(~real[..., None], 0.0))) * scale
        return of_x, of_weight_D.to(weight.dtype), of_bias_D.to(weight.dtype), *(None,) * 6
