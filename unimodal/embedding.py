"""Embedding: files of any modality to tokens and one vector each, in the form that the batch runner takes.

Axes: N tokens, D width, E width of the embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unimodal.detection import modality_of
from unimodal.errors import InputError
from unimodal.inference.whole import reads_whole
from unimodal.model import Model
from unimodal.sample import Sample
from unimodal.tokens import Tokens
from unimodal.weights_file import write_weights

__all__ = ["Embedder"]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Tokens and the embedding of one input.

    Args:
        source: The input.
        modality: As which it was read.
        lattice: Of its tokens.
        tokens: (N, D) behind the core.
        vector: (E,).
        notes: What was assumed or left out when it was read.
    """

    source: str
    modality: str
    lattice: tuple[int, ...]
    tokens: Tensor
    vector: Tensor
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A row of the table."""
        count, width = self.tokens.shape
        lattice = list(self.lattice)
        found = [float(v) for v in self.vector.tolist()]
        row = {"modality": self.modality, "tokens": count, "width": width, "lattice": lattice, "embedding": found}
        return {**row, "notes": list(self.notes)}

    def save(self, folder: Path, stem: str) -> list[Path]:
        """The tokens and the embedding as safetensors."""
        path = folder / f"{stem}.safetensors"
        write_weights(path, {"tokens": self.tokens.contiguous(), "embedding": self.vector.contiguous()})
        return [path]

    def render(self) -> dict[str, Any]:
        """The row without the long numbers."""
        row = {k: v for k, v in self.to_json().items() if k != "embedding"}
        return {"table": [row]}


class Embedder:
    """Reads a file as what it is, and gives the model's tokens and its readout.

    Args:
        model: With a readout; one core for all its tokenizers.
        modality: For every file; None means that each file is looked at. A model with one tokenizer reads everything
            with it.

    Raises:
        ValueError: the model has no readout, or no tokenizer for ``modality``.
        InputError: :meth:`read` gets a file that no tokenizer of the model knows, or that cannot be used.
    """

    name = "embed"

    def __init__(self, model: Model, modality: str | None = None) -> None:
        if model.readout is None:
            raise ValueError("the model has no readout, so it gives tokens and no embedding")
        if modality is not None:
            model.tokenizer(modality)
        self.module = model
        self.inputs = (modality,) if modality is not None else tuple(model.tokenizers)
        self.modality = self.inputs[0] if len(self.inputs) == 1 else modality

    def takes_whole(self, path: Path) -> bool:
        """Whether a table or folder is one input (see :func:`unimodal.inference.whole.reads_whole`)."""
        return reads_whole(self, path)

    def read(self, source: Any) -> Sample:
        """Decode and validate one input."""
        modality = self.modality
        if modality is None:
            if not isinstance(source, str | Path):
                known = ", ".join(self.inputs)
                raise InputError(type(source).__name__, "its modality cannot be seen", f"say what it is: {known}")
            modality = modality_of(source, self.inputs)
        tokenizer: Any = self.module.tokenizer(modality)
        return tokenizer.read(Path(source) if isinstance(source, str) else source)

    def predict(self, samples: Sequence[Sample]) -> list[Embedded]:
        """One result a sample; samples of one modality go through the core together.

        Where a tokenizer makes several sequences of an input (a channel each), its tokens are those of all of them and
        its embedding their mean.
        """
        found: dict[int, Embedded] = {}
        for modality in dict.fromkeys(sample.modality for sample in samples):
            places = [i for i, sample in enumerate(samples) if sample.modality == modality]
            tokens, vectors = self._through(modality, [samples[i] for i in places])
            if tokens.sequences == len(places):
                results = [(tokens.split()[k], vectors[k], _lattice(tokens, k)) for k in range(len(places))]
            else:
                alone = [self._through(modality, [samples[i]]) for i in places]
                results = [(torch.cat(t.split()), v.mean(0), (t.sequences, *_lattice(t, 0))) for t, v in alone]
            for i, (x_ND, vector, lattice) in zip(places, results, strict=True):
                notes = tuple(getattr(samples[i].record, "notes", ()))
                found[i] = Embedded(samples[i].source, modality, lattice, x_ND.cpu(), vector.cpu(), notes)
        return [found[i] for i in range(len(samples))]

    def _through(self, modality: str, samples: Sequence[Sample]) -> tuple[Tokens, Tensor]:
        device = next(self.module.parameters()).device
        tokenizer: Any = self.module.tokenizer(modality)
        with torch.inference_mode():
            tokens = self.module(tokenizer.collate(samples).to(device))
            return tokens.lattice(), self.module.readout(tokens)  # pyright: ignore[reportOptionalCall]


def _lattice(tokens: Tokens, sequence: int) -> tuple[int, ...]:
    """The lattice of one sequence, or its length where there is none."""
    if tokens.side.grid is None and tokens.side.grids is None:
        return (tokens.sequence_lengths()[sequence],)
    return tokens.side.lattices(tokens.sequences)[sequence]
