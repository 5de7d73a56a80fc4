"""Drop centring: a trained pre-norm model with RMS norms (or compressed ones) for its layer norms, the same function.

Source: Jiang et al. 2023, arXiv:2305.14858, sec. 3.
Axes: ... any leading axes, D width, C = D or D - 1 channels of the residual stream.
"""

import copy
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.block import Block
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.kernels.norm import norm as normed
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.side import Side
from unimodal.transformer import Transformer

__all__ = ["drop_centring"]


def drop_centring(model: Model, *, compressed: bool = False) -> Model:
    """A copy with the same outputs whose blocks take no mean; ``model`` itself is left as it is.

    A layer norm does not see the mean of its token: LN(x) = RMS(x - mean(x)). So all that writes to the residual
    stream may lose its mean: W <- (I - 1 1^T / D) W of every branch's last map (layer scale folded in first), and the
    tokens are centred where they enter the core, once, whatever made them (the paper centres each embedding; the sum
    is the same). Weight g and bias b of a norm move into the map behind it: W <- W diag(g), c <- c + W b. When
    ``compressed``, the stream has D - 1 channels, the last being minus the sum of the others: maps into it lose that
    row, and maps out of it become W[:, :-1] - W[:, -1:].

    The last norm keeps its weight and bias and gives width D again. What :meth:`Model.features` returns before it is
    the stream: without its mean, and of width D - 1 when compressed. Weights are rewritten in float64. Trained on, the
    copy takes another path, as nothing keeps its maps centred. Its parts are not those of the model's Part: save the
    model, and convert after loading.

    Args:
        compressed: Whether to leave out the last channel too.

    Raises:
        ValueError: the model is not made of pre-norm or parallel :class:`Block` with layer norms, a mixer ``Full`` and
            a feed-forward ``Plain`` or ``Gated``, or has no layer norm behind the blocks. The copy refuses a memory,
            whose keys and values pass no norm.

    Cost: an RMS norm without weight takes half of a layer norm's time on a CPU (ViT-Ti), but all norms together are 2
        to 6 % of an encoder, so the whole is as fast as it was, within 2 %. Compressed it is slower there: the sum is
        one more pass, and a plain map into a stream of D - 1 channels takes 13 to 18 % longer than into D (D = 192 or
        768); prepacked (:func:`unimodal.prepack.prepack`) the two take the same. Filling such a stream up to D channels
        is the model that is not compressed, with a sum on top. Figures: ``python -m benchmarks.norms``.
    """
    core: Any = model.transformer
    if type(core) is not Transformer or type(core.norm) is not LayerNorm:
        raise ValueError("the model needs a Transformer with a layer norm behind its blocks (norm=Part(LayerNorm))")
    for block in core.blocks:
        _check(block)
    new = copy.deepcopy(model)
    core = new.transformer
    with torch.no_grad():
        for block in core.blocks:
            _convert(block, compressed)
        core.norm = _Leaving(core.norm, compressed)
        new.norm = _Entering(new.norm, compressed)
    return new


def _check(block: Any) -> None:
    if type(block) is not Block or block.layout not in ("pre", "parallel"):
        found = f"a {block.layout} block" if type(block) is Block else type(block).__name__
        raise ValueError(f"layer norms can be replaced in pre and parallel blocks, not in {found}")
    for child, known in (
        (block.norm_mixer, (LayerNorm,)),
        (block.norm_ffn, (LayerNorm, type(None))),
        (block.mixer, (Full,)),
        (block.ffn, (Plain, Gated, type(None))),
    ):
        if type(child) not in known:
            names = " or ".join(cls.__name__ for cls in known if cls is not type(None))
            raise ValueError(f"a block has {type(child).__name__} where {names} is needed")


def _convert(block: Any, compressed: bool) -> None:
    norm_ffn = block.norm_mixer if block.layout == "parallel" else block.norm_ffn
    block.mixer.to_qkv = _reading(block.mixer.to_qkv, block.norm_mixer, compressed)
    block.mixer.to_out = _writing(block.mixer.to_out, block.scale_mixer, compressed)
    if block.ffn is not None:
        block.ffn.to_hidden = _reading(block.ffn.to_hidden, norm_ffn, compressed)
        block.ffn.to_out = _writing(block.ffn.to_out, block.scale_ffn, compressed)
    block.scale_mixer = block.scale_ffn = None
    block.norm_mixer = _Bare(block.norm_mixer, compressed)
    block.norm_ffn = _Bare(block.norm_ffn, compressed) if block.norm_ffn is not None else None


def _reading(plain: nn.Linear, norm: LayerNorm, compressed: bool) -> nn.Linear:
    weight, bias = plain.weight.double(), plain.bias
    if norm.bias is not None:
        shift = weight @ norm.bias.double()
        bias = shift if bias is None else bias.double() + shift
    weight = weight * norm.weight.double()
    return _linear(weight[:, :-1] - weight[:, -1:] if compressed else weight, bias, plain.weight)


def _writing(plain: nn.Linear, scale: Tensor | None, compressed: bool) -> nn.Linear:
    weight, bias = plain.weight.double(), None if plain.bias is None else plain.bias.double()
    if scale is not None:
        weight, bias = weight * scale.double()[:, None], None if bias is None else bias * scale.double()
    weight, bias = weight - weight.mean(0), None if bias is None else bias - bias.mean()
    if compressed:
        weight, bias = weight[:-1], None if bias is None else bias[:-1]
    return _linear(weight, bias, plain.weight)


def _linear(weight: Tensor, bias: Tensor | None, like: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=like.device, dtype=like.dtype)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made


class _Bare(nn.Module):
    """A norm whose weight and bias are in the map behind it, which therefore must read nothing else."""

    def __init__(self, norm: LayerNorm, compressed: bool) -> None:
        super().__init__()
        self.kind, self.eps = "crms" if compressed else "rms", norm.eps

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        return normed(x, self.kind, eps=self.eps)


class _Entering(nn.Module):
    """The model's own norm, if any, and then the one centring that is left."""

    def __init__(self, norm: nn.Module | None, compressed: bool) -> None:
        super().__init__()
        self.norm, self.compressed = norm, compressed

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        x = x if self.norm is None else self.norm(x, side)
        h = x.to(torch.promote_types(x.dtype, torch.float32))
        h = (h - h.mean(-1, keepdim=True)).to(x.dtype)
        return h[..., :-1].contiguous() if self.compressed else h


class _Leaving(nn.Module):
    """The last norm: width D, with weight and bias."""

    def __init__(self, norm: LayerNorm, compressed: bool) -> None:
        super().__init__()
        self.compressed, self.eps = compressed, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        if not self.compressed:
            return normed(x, "rms", weight=self.weight, bias=self.bias, eps=self.eps)
        y = normed(x, "crms", eps=self.eps)
        y = torch.cat([y, -y.sum(-1, keepdim=True)], -1) * self.weight
        return y if self.bias is None else y + self.bias
