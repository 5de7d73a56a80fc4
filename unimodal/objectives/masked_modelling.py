"""Masked modelling: hide most of an input's patches, encode the others, and predict the hidden ones' values.

Source: He et al. 2021, arXiv:2111.06377, sec. 3; pictures and volumes through one encoder, and a second decoder for the
gradient map: Cai et al. 2022, arXiv:2203.04614.
Axes: B inputs, N patches of an input, V visible ones, R prefix tokens, D width, K values of a patch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.gradient_target import GradientTarget
from unimodal.masked_decoder import MaskedDecoder
from unimodal.model import Model
from unimodal.part import Part
from unimodal.pixel_target import PixelTarget
from unimodal.sample import Batch
from unimodal.selected import selected
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem
from unimodal.stems.unified_patch import UnifiedPatchStem
from unimodal.tokens import Tokens

__all__ = ["MaskedModelling"]

_DISJOINT = (PatchStem, TubeletStem, UnifiedPatchStem)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, eq=False)
class _Reconstruction:
    """``predicted`` and ``target`` (B, N, K) by the target's name; ``hidden`` (B, N), True = masked; the latent."""

    predicted: dict[str, Tensor]
    target: dict[str, Tensor]
    hidden: Tensor
    latent: Tokens

    def losses(self) -> dict[str, Tensor]:
        """By the target's name: the mean over hidden patches of the mean squared error of a patch."""
        return {name: _squared(self.predicted[name] - value)[self.hidden].mean() for name, value in self.target.items()}


class MaskedModelling(nn.Module):
    """loss = sum over targets t of mean over hidden patches of mean((decoder_t(encoder(visible)) - t)^2).

    Of each input floor(N (1 - masked)) patches are visible, drawn anew for every input and step. The encoder sees these
    and the prefix, so hidden patches cost it nothing and have no way into it: the stem must cut disjoint patches, and
    the model's position must not mix tokens. Decoders are the objective's own and are thrown away afterwards.

    A batch is of one modality, and one model may have several: pictures and volumes train one encoder in turn, each
    through its own tokenizer. Targets are made of what the tokenizer gives its stem, so they are in its own scale.

    The defaults are those of Uni4Eye: pixels and gradient map with equal weights.

    Args:
        dim: Width D of the model.
        patches: Shapes of a patch that the decoders can predict, (channels, rows, columns) of a picture and (channels,
            slices, rows, columns) of a volume.
        targets: Parts that map (values, patch) to (B, N, K), by name; each has a decoder of its own.
        masked: Share of the patches that are hidden.
        decoder: Built with D and ``patches``.

    Shapes:
        model, a batch of inputs of one size, noise (B, N): the smallest are visible, or None to draw it;
            returns the loss, a scalar.
        reconstruct: the same;  returns what was predicted, what should have been, and which patches were hidden.

    Raises:
        ValueError: there is no target, ``masked`` is no share or leaves nothing visible or nothing hidden, the stem
            does not cut disjoint patches, the position convolves tokens, inputs differ in size, or noise has another
            shape.

    Cost: the encoder's is that of R + V tokens, about a quarter of the whole input's at masked = 0.75.
    """

    def __init__(
        self,
        dim: int,
        *,
        patches: Sequence[tuple[int, ...]] = ((3, 16, 16), (1, 16, 16, 16)),
        targets: Mapping[str, Part] = {"pixels": Part(PixelTarget), "gradient": Part(GradientTarget)},
        masked: float = 0.75,
        decoder: Part = Part(MaskedDecoder),
    ) -> None:
        super().__init__()
        if not targets:
            raise ValueError("targets must name at least one")
        if not 0 < masked < 1:
            raise ValueError(f"masked is a share in (0, 1), not {masked}")
        self.masked = masked
        self.targets = nn.ModuleDict({name: part() for name, part in targets.items()})
        self.decoders = nn.ModuleDict({name: decoder(dim, patches=patches) for name in targets})

    def forward(self, model: Model, batch: Batch, noise: Tensor | None = None) -> Tensor:
        return torch.stack([*self.reconstruct(model, batch, noise).losses().values()]).sum()

    def reconstruct(self, model: Model, batch: Batch, noise: Tensor | None = None) -> _Reconstruction:
        """Predictions of all patches, the visible ones too; see :meth:`_Reconstruction.losses`."""
        tokens, values, patch = _tokenized(model, batch)
        grid, count = tokens.side.lattices(1)[0], tokens.x.shape[1] - tokens.side.prefix
        order_BN, seen = self.shuffled(tokens.sequences, count, tokens.x.device, noise)
        latent = model.transformer(selected(tokens, order_BN[:, :seen]).padded())
        kind = (values.shape[1], *patch)
        with torch.no_grad():
            target = {name: part(values, patch) for name, part in self.targets.items()}
        predicted = {name: part(latent, order_BN, grid, kind) for name, part in self.decoders.items()}
        hidden_BN = torch.ones_like(order_BN, dtype=torch.bool).scatter(1, order_BN[:, :seen], False)
        return _Reconstruction(predicted, target, hidden_BN, latent)

    def shuffled(self, rows: int, count: int, device: torch.device, noise: Tensor | None = None) -> tuple[Tensor, int]:
        """(rows, count) places of each input, the visible ones in front and in ascending order; how many these are."""
        noise = torch.rand(rows, count, device=device) if noise is None else noise
        if noise.shape != (rows, count):
            raise ValueError(f"noise must be {(rows, count)}, one number a patch, not {tuple(noise.shape)}")
        seen = int(count * (1 - self.masked))
        if not 0 < seen < count:
            raise ValueError(f"masked = {self.masked} leaves {seen} of {count} patches visible, not some of them")
        order_BN = noise.argsort(1)
        return torch.cat([order_BN[:, :seen].sort(1).values, order_BN[:, seen:]], 1), seen


def _squared(gap_BNK: Tensor) -> Tensor:
    """The mean square of each patch, in float32 at least."""
    return gap_BNK.to(torch.promote_types(gap_BNK.dtype, torch.float32)).square().mean(-1)


def _tokenized(model: Model, batch: Batch) -> tuple[Tokens, Tensor, tuple[int, ...]]:
    """The tokens that enter the core, the values of which the stem made them, and the size of a patch."""
    stem: Any = getattr(model.tokenizer(batch.modality), "stem", None)
    if not isinstance(stem, _DISJOINT):
        names = ", ".join(cls.__name__ for cls in _DISJOINT)
        raise ValueError(
            f"the stem must cut disjoint patches ({names}), not be a {type(stem).__name__}, "
            "which would show the encoder what is hidden"
        )
    if batch.modality in model.positions:
        position = model.positions[batch.modality]
        if any(isinstance(module, _CONVOLUTIONS) for module in position.modules()):
            name = type(position).__name__
            raise ValueError(f"the position must not mix tokens, as {name} does: it would tell of what is hidden")
    given: list[Tensor] = []
    watch = stem.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0].detach()))
    try:
        tokens = model.tokenize(batch)
    finally:
        watch.remove()
    if len(given) != 1 or tokens.side.cu_seqlens is not None or tokens.side.lengths is not None:
        raise ValueError("inputs of a batch must be of one size: a batch holds one lattice")
    (values,) = given
    stride = stem.stride if isinstance(stem.stride, tuple) else (stem.stride, stem.stride)
    return tokens, values, stride[-(values.ndim - 2) :]
