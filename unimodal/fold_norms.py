"""Fold norms: norms of a trained model that are affine in use go into the linear maps behind or in front of them.

Source: Guo et al. 2024, arXiv:2405.11582, sec. 3.2; Yang et al. 2022, arXiv:2208.01313 (the unified norm).
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
from unimodal.folding import preceded, scaled
from unimodal.kernels.norm import norm as normed
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.batch import BatchNorm
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.norms.unified import UnifiedNorm
from unimodal.side import Side
from unimodal.transformer import Transformer

__all__ = ["fold_norms"]


OURS = (BatchNorm, ProgressiveBatchNorm, UnifiedNorm)
TORCHS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_norms(model: nn.Module) -> nn.Module:
    """A copy for use with the same outputs, without such norms; ``model`` itself is left as it is.

    In use such a norm is y = a x + b, one factor and one shift a channel, so W y + c = (W diag(a)) x + (W b + c). In a
    block every map that reads the norm is rewritten so, in float64. In an ``nn.Sequential`` the norm goes into the
    linear map or convolution directly in front of it: a (W x + c) + b = (diag(a) W) x + (a c + b). (The released code
    of the paper leaves eta c out of that shift, which is only right for c = 0.) A norm behind the last block, or
    between embedding and core, where positions were added, becomes its factor and shift. Norms of other kinds stay as
    they are.

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
            elif isinstance(module, Transformer | Model) and _foldable(module.norm):
                module.norm = _Affine(module.norm)
                folded += 1
            elif type(module) is nn.Sequential:
                folded += _fold_sequence(module)
    if not folded:
        names = sorted({cls.__name__ for cls in (*OURS, *TORCHS)})
        raise ValueError(f"the model has no norm that can be folded: they are {', '.join(names)}")
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
    mixer.to_qkv = preceded(mixer.to_qkv, *_affine(block.norm_mixer))
    if ffn is not None:
        ffn.to_hidden = preceded(ffn.to_hidden, *_affine(norm_ffn))
    block.norm_mixer = _Nothing()
    block.norm_ffn = None if block.norm_ffn is None else _Nothing()


def _fold_sequence(sequence: nn.Sequential) -> int:
    folded = 0
    for i in range(len(sequence) - 1):
        if type(sequence[i]) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d) and _foldable(sequence[i + 1]):
            sequence[i], sequence[i + 1] = scaled(sequence[i], *_affine(sequence[i + 1])), nn.Identity()
            folded += 1
    return folded


def _foldable(norm: Any) -> bool:
    return type(norm) in OURS or (type(norm) in TORCHS and norm.running_var is not None)


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    if type(norm) in OURS:
        return norm.affine()
    factor_D = (norm.running_var.double() + norm.eps).rsqrt()
    factor_D = factor_D if norm.weight is None else factor_D * norm.weight.double()
    shift_D = -factor_D * norm.running_mean.double()
    return factor_D, shift_D if norm.bias is None else shift_D + norm.bias.double()


class _Nothing(nn.Module):
    """Where a norm was; the map behind it reads nothing else."""

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        return x


class _Affine(nn.Module):
    """One factor and one shift a channel."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        factor_D, shift_D = norm.affine()
        like = next(norm.parameters())
        self.weight, self.bias = nn.Parameter(factor_D.to(like)), nn.Parameter(shift_D.to(like))
        self.eval()

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return normed(x, "affine", weight=self.weight, bias=self.bias)
