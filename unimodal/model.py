"""Model: tokenizers, the core and a readout; what a checkpoint holds and a task stands on.

Source: Zhang et al. 2023, arXiv:2307.10802, sec. 3 (tokenizers into one shared, modality-agnostic encoder).
Axes: S sequences, D width, E readout width.
"""

from collections.abc import Mapping, Sequence

import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.prefix import Prefix
from unimodal.sample import Batch
from unimodal.tokens import Tokens

__all__ = ["Model"]


class Model(nn.Module):
    """batch -> tokenizer -> + position -> prefix -> norm -> transformer -> Tokens.

    Args:
        dim: Width D of the core.
        tokenizers: One part a modality, by the modality's name.
        transformer: The core.
        positions: One position part a modality that needs one; it acts before the prefix is put in front.
        prefix: Learned tokens in front of every sequence.
        norm: Norm between embedding and core, or None.
        readout: Turns a sequence into one vector, or None.

    Shapes:
        forward: a batch of S inputs;  returns Tokens of S sequences of width D.
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
    ) -> None:
        super().__init__()
        self.dim = dim
        self.tokenizers = nn.ModuleDict({name: part(dim) for name, part in tokenizers.items()})
        self.positions = nn.ModuleDict({name: part(dim) for name, part in (positions or {}).items()})
        self.prefix = Prefix(dim, count=prefix) if prefix else None
        self.norm = norm(dim) if norm is not None else None
        self.transformer = transformer(dim)
        self.readout = readout(dim) if readout is not None else None

    def tokenizer(self, modality: str) -> nn.Module:
        """The tokenizer of a modality."""
        if modality not in self.tokenizers:
            raise ValueError(f"this model reads {', '.join(self.tokenizers) or 'nothing'}, not {modality!r}")
        return self.tokenizers[modality]

    def tokenize(self, batch: Batch) -> Tokens:
        """The tokens that enter the core."""
        return self.place(self.tokenizer(batch.modality)(batch), batch.modality)

    def place(self, tokens: Tokens, modality: str) -> Tokens:
        """A tokenizer's tokens with their positions, the prefix and the norm in front of the core."""
        if modality in self.positions:
            tokens = tokens.replace(self.positions[modality](tokens.x, tokens.side))
        if self.prefix is not None:
            tokens = self.prefix(tokens)
        return tokens if self.norm is None else tokens.replace(self.norm(tokens.x, tokens.side))

    def forward(self, batch: Batch) -> Tokens:
        return self.transformer(self.tokenize(batch))

    def features(self, batch: Batch, depths: Sequence[int]) -> list[Tokens]:
        """The tokens after each of ``depths`` blocks (see :meth:`unimodal.transformer.Transformer.features`)."""
        return self.transformer.features(self.tokenize(batch), depths)

    def embed(self, batch: Batch) -> Tensor:
        """One vector an input."""
        if self.readout is None:
            raise ValueError("this model has no readout; build it with one, or use its tokens")
        return self.readout(self(batch))
