"""Model: tokenizers, the core and a readout; what a checkpoint holds and a task stands on.

Source: Zhang et al. 2023, arXiv:2307.10802, sec. 3 (tokenizers into one shared, modality-agnostic encoder); kind
vectors: Chen et al. 2019, arXiv:1909.11740, sec. 3.1.
Axes: S sequences, D width, E readout width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.mixture import mixture
from unimodal.part import Part
from unimodal.prefix import Prefix
from unimodal.sample import Batch, Sample
from unimodal.stride_product import stride_product
from unimodal.tokens import Tokens

__all__ = ["Model"]


class Model(nn.Module):
    """batch -> tokenizer -> + position + kind -> prefix -> norm -> transformer -> Tokens.

    Inputs of several modalities each go the same way through :meth:`together`.

    Args:
        dim: Width D of the tokens that enter the core.
        tokenizers: One part a modality, by the modality's name.
        transformer: The core. One that changes the width says what comes out with ``width``, as a pyramid does.
        positions: One position part a modality that needs one; it acts before the prefix is put in front.
        prefix: Learned tokens in front of every sequence.
        norm: Norm between embedding and core, or None.
        readout: Turns a sequence into one vector, or None.
        kinds: Whether every modality has a learned vector that is added to its tokens, which tells them apart in a
            mixed sequence.

    Shapes:
        forward: a batch of S inputs;  returns Tokens of S sequences of width D, or of the core's ``width``.
        embed: a batch of S inputs;  returns (S, E).

    Raises:
        ValueError: the batch's modality has no tokenizer here, or :meth:`embed` is called without a readout.
    """

    def __init__(
        self,
        dim: int,
        *,
        tokenizers: Mapping[str, Part],
        transformer: Part,
        positions: Mapping[str, Part] | None = None,
        prefix: int = 0,
        norm: Part | None = None,
        readout: Part | None = None,
        kinds: bool = False,
    ) -> None:
        super().__init__()
        self.tokenizers = nn.ModuleDict({name: part(dim) for name, part in tokenizers.items()})
        self.positions = nn.ModuleDict({name: part(dim) for name, part in (positions or {}).items()})
        self.kinds = nn.ParameterDict({name: nn.Parameter(torch.zeros(dim)) for name in tokenizers if kinds})
        self.prefix = Prefix(dim, count=prefix) if prefix else None
        self.norm = norm(dim) if norm is not None else None
        self.transformer = transformer(dim)
        self.dim = getattr(self.transformer, "width", dim)
        self.readout = readout(self.dim) if readout is not None else None

    def tokenizer(self, modality: str) -> nn.Module:
        """The tokenizer of a modality."""
        if modality not in self.tokenizers:
            raise ValueError(f"this model reads {', '.join(self.tokenizers) or 'nothing'}, not {modality!r}")
        return self.tokenizers[modality]

    def tokenize(self, batch: Batch) -> Tokens:
        """The tokens that enter the core."""
        return self.place(self.tokenizer(batch.modality)(batch), batch.modality)

    def place(self, tokens: Tokens, modality: str) -> Tokens:
        """A tokenizer's tokens with their positions and kind, the prefix and the norm in front of the core."""
        return self._fronted(self._located(tokens, modality))

    def together(self, inputs: Sequence[Sequence[Sample]]) -> Tokens:
        """The tokens that enter the core when each input has samples of several modalities: one sequence an input.

        An input's samples follow one another in the order given; inputs may have different modalities. The result is
        packed (``.padded()`` gives rows); ``side.modality`` holds indices into the model's tokenizers.

        Raises:
            ValueError: an input has no samples, a modality has no tokenizer here, its tokenizer gives another number of
                sequences than samples, or causal and other modalities meet.
        """
        by_modality: dict[str, list[tuple[int, int]]] = {}
        for i, samples in enumerate(inputs):
            for j, sample in enumerate(samples):
                by_modality.setdefault(sample.modality, []).append((i, j))
        parts, places = [], {}
        for name, at in by_modality.items():
            tokenizer: Any = self.tokenizer(name)
            batch = tokenizer.collate([inputs[i][j] for i, j in at]).to(next(self.parameters()).device)
            parts.append(self._located(tokenizer(batch), name))
            if parts[-1].sequences != len(at):
                made = parts[-1].sequences
                raise ValueError(f"{name} makes {made} sequences of {len(at)} samples, so it cannot be mixed")
            places |= {place: (len(parts) - 1, sequence) for sequence, place in enumerate(at)}
        members = [[places[i, j] for j in range(len(samples))] for i, samples in enumerate(inputs)]
        known = list(self.tokenizers)
        return self._fronted(mixture(parts, members, [known.index(name) for name in by_modality]))

    def forward(self, batch: Batch) -> Tokens:
        return self.transformer(self.tokenize(batch))

    def features(self, batch: Batch, depths: Sequence[int]) -> list[Tokens]:
        """The tokens after each of ``depths`` blocks (see :meth:`unimodal.transformer.Transformer.features`)."""
        return self.transformer.features(self.tokenize(batch), depths)

    def strides(self, modality: str) -> tuple[int | tuple[int, ...], ...]:
        """How far one cell of each of :meth:`features` reaches in the input (px, frames): the stem's and the core's.

        One number, or one an axis where they differ. Cells at the far border may have less of it, or none be made of a
        rest, as the stem and what lies between the stages say.

        Raises:
            ValueError: the modality has no tokenizer here, or one without a stem.
        """
        stem: Any = getattr(self.tokenizer(modality), "stem", None)
        if stem is None:
            raise ValueError(f"the tokenizer of {modality} has no stem, so its tokens are no cells of one size")
        steps = getattr(self.transformer, "strides", None) or (1,) * (getattr(self.transformer, "depth", 0) + 1)
        return tuple(stride_product(stem.stride, step) for step in steps)

    @property
    def embedded(self) -> int:
        """Width E of :meth:`embed`."""
        return getattr(self.readout, "width", self.dim)

    def embed(self, batch: Batch) -> Tensor:
        """One vector an input."""
        if self.readout is None:
            raise ValueError("this model has no readout; build it with one, or use its tokens")
        return self.readout(self(batch))

    def _located(self, tokens: Tokens, modality: str) -> Tokens:
        if modality in self.positions:
            tokens = tokens.replace(self.positions[modality](tokens.x, tokens.side))
        return tokens.replace(tokens.x + self.kinds[modality]) if modality in self.kinds else tokens

    def _fronted(self, tokens: Tokens) -> Tokens:
        if self.prefix is not None:
            tokens = self.prefix(tokens)
        return tokens if self.norm is None else tokens.replace(self.norm(tokens.x, tokens.side))
