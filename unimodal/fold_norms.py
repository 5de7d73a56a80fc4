"""Fold norms: batch norms of a trained model, which are affine in use, go into the linear maps behind them.

Source: Guo et al. 2024, arXiv:2405.11582, sec. 3.2.
Axes: ... any leading axes, D width, O outputs of a map.
"""

import copy
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.block import Block
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.batch import BatchNorm
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.side import Side
from unimodal.transformer import Transformer

__all__ = ["fold_norms"]


def fold_norms(model: nn.Module) -> nn.Module:
    """A copy for use with the same outputs, without norms in its blocks; ``model`` itself is left as it is.

    In use such a norm is y = a x + b, one factor and one shift a channel, so W y + c = (W diag(a)) x + (W b + c). Every
    map that reads the norm is rewritten, in float64. A norm behind the last block has no map of the core behind it: it
    becomes its factor and shift. Norms of other kinds stay as they are.

    Raises:
        ValueError: the model is in training mode, whose norms see the batch; no norm can be folded; or a block with
            such norms is not pre or parallel, or has a mixer other than ``Full`` or a feed-forward other than
            ``Plain`` and ``Gated``. The copy refuses a memory, whose keys and values pass no norm.
    """
    if model.training:
        raise ValueError("the model is in training mode, in which its norms see the batch: call model.eval() first")
    new, folded = copy.deepcopy(model), 0
    with torch.no_grad():
        for module in list(new.modules()):
            if isinstance(module, Block) and _foldable(module.norm_mixer):
                _fold(module)
                folded += 1
            elif isinstance(module, Transformer) and _foldable(module.norm):
                module.norm = _Affine(*_affine(module.norm), like=next(module.parameters()))
                folded += 1
    if not folded:
        raise ValueError("the model has no norm that can be folded: they are BatchNorm and ProgressiveBatchNorm")
    return new


def _fold(block: Any) -> None:
    mixer, ffn = block.mixer, block.ffn
    if block.layout not in ("pre", "parallel") or type(mixer) is not Full:
        raise ValueError(
            f"norms fold into pre and parallel blocks with Full, not {block.layout}, {type(mixer).__name__}"
        )
    if type(ffn) not in (Plain, Gated, type(None)):
        raise ValueError(f"norms fold into the feed-forwards Plain and Gated, not {type(ffn).__name__}")
    norm_ffn = block.norm_mixer if block.layout == "parallel" else block.norm_ffn
    mixer.to_qkv = _reading(mixer.to_qkv, block.norm_mixer)
    if ffn is not None:
        ffn.to_hidden = _reading(ffn.to_hidden, norm_ffn)
    block.norm_mixer = _Nothing()
    block.norm_ffn = None if block.norm_ffn is None else _Nothing()


def _reading(plain: nn.Linear, norm: Any) -> nn.Linear:
    factor_D, shift_D = _affine(norm)
    weight, old = plain.weight, plain.bias
    made = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    made.weight.copy_(weight.double() * factor_D)
    made.bias.copy_(weight.double() @ shift_D + (0.0 if old is None else old.double()))
    return made.train(plain.training)


def _foldable(norm: Any) -> bool:
    return type(norm) in (BatchNorm, ProgressiveBatchNorm)


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    if type(norm) is ProgressiveBatchNorm:
        return norm.affine()
    factor_D = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return factor_D, norm.bias.double() - factor_D * norm.running_mean.double()


class _Nothing(nn.Module):
    """Where a norm was; the map behind it reads nothing else."""

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        return x


class _Affine(nn.Module):
    """One factor and one shift a channel."""

    def __init__(self, factor: Tensor, shift: Tensor, *, like: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(factor.to(like)), nn.Parameter(shift.to(like))
        self.eval()

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return torch.addcmul(self.bias, x, self.weight)
