"""Collation: samples as one batch, whose data are one tensor where all have one size.

Axes: B inputs, N tokens of an input, S tokens of all inputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unimodal.sample import Batch, Sample

__all__ = ["as_their_tokens", "collated", "in_one"]


def collated(modality: str, samples: Sequence[Sample]) -> Batch:
    """The samples' data and records, in order.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("samples is empty: a batch has at least one")
    return Batch(modality, in_one([sample.data for sample in samples]), tuple(sample.record for sample in samples))


def in_one(values: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    """One tensor if all have one size, else a tuple of them.

    Shapes:
        values: B times (...);  returns (B, ...), or B times (...).
    """
    return torch.stack(list(values)) if len({tuple(value.shape) for value in values}) == 1 else tuple(values)


def as_their_tokens(rows: Sequence[Tensor], batch: Batch) -> Tensor:
    """What belongs to each token of a batch, laid out as :func:`unimodal.cells.tokens_of_cells` lays the tokens.

    Shapes:
        rows: B times (N, ...);  returns (B, N, ...), or packed (1, S, ...) when the inputs' sizes differ.
    """
    return torch.stack(list(rows)) if isinstance(batch.data, Tensor) else torch.cat(list(rows))[None]
