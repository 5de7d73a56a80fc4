"""Batch invariant: a copy of a model that gives an input the same bits alone, padded, packed, in any company and order.

Source: Horace He and Thinking Machines Lab 2025, "Defeating Nondeterminism in LLM Inference" (results change with the
batch because the order of a kernel's sums does).
Axes: B rows, N tokens of a sequence, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.model import Model
from unimodal.sample import Batch, Sample
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["batch_invariant"]


def batch_invariant(model: Model) -> Model:
    """A copy with the same function, whose every step sees one sequence at a time; ``model`` is left as it is.

    Matrix kernels choose their blocks, and with them the order of their sums, by the shape of what they get; so an
    input's last bits depend on who shares its batch. Here tokenizers see one sample, and positions, norms, the core and
    the readout one sequence, as a fresh copy (so that its memory is aligned alike): no shape depends on the batch. The
    number of threads must stay the same too. Parameters are shared with the model, but lie under other names: save the
    model itself. Mixed sequences (:meth:`Model.together`) are a sequence like any other.

    Of a task this covers the encoder (``task.module.encoder = batch_invariant(task.module.encoder)``, then
    ``type(task)(task.module)``, which takes the copy's tokenizer), not its head, which still sees the whole batch.

    Raises:
        ValueError: the copy's tokenizer gets a batch of several inputs that it did not collate itself; or tokens have
            a mask, bias or memory, which are not cut into sequences.

    Cost: what the company of a batch saves; 32 small pictures through the embedded encoder took 1.6 times as long
        (``benchmarks/batch_invariant.py``).
    """
    new: Any = sharing_copy(model)
    for name, tokenizer in list(new.tokenizers.items()):
        new.tokenizers[name] = _OneSample(tokenizer)
    for name, position in list(new.positions.items()):
        new.positions[name] = _OneSequence(position)
    new.norm = None if new.norm is None else _OneSequence(new.norm)
    new.transformer = _OneByOne(new.transformer)
    new.readout = None if new.readout is None else _OneVector(new.readout)
    return new


class _Around(nn.Module):
    """A module around another, whose other attributes are the inner one's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.train(inner.training)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class _OneSample(_Around):
    """A tokenizer that collates each sample for itself."""

    def collate(self, samples: Sequence[Sample]) -> Batch:
        alone: Any = tuple(self.inner.collate([sample]) for sample in samples)  # pyright: ignore[reportCallIssue]
        return Batch(alone[0].modality, alone, tuple(sample.record for sample in samples))

    def forward(self, batch: Batch) -> Tokens:
        if all(isinstance(one, Batch) for one in batch.data):
            return _joined([self.inner(one) for one in batch.data])
        if len(batch) != 1:
            raise ValueError(f"a batch of {len(batch)} inputs must be collated by the batch-invariant copy's tokenizer")
        return self.inner(batch)


class _OneSequence(_Around):
    """A part (x, side) -> x."""

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        tokens = Tokens(x, side)
        return _laid_out([self.inner(one.x, one.side) for one in _alone(tokens)], tokens)


class _OneByOne(_Around):
    """The core."""

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.replace(_laid_out([self.inner(one).x for one in _alone(tokens)], tokens))

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        inner: Any = self.inner
        found = [inner.features(one, depths) for one in _alone(tokens)]
        return [tokens.replace(_laid_out([kept[i].x for kept in found], tokens)) for i in range(len(depths))]


class _OneVector(_Around):
    """The readout."""

    def forward(self, tokens: Tokens) -> Tensor:
        return torch.cat([self.inner(one) for one in _alone(tokens)])


def _alone(tokens: Tokens) -> list[Tokens]:
    """Each sequence by itself, uniform, in memory of its own."""
    side = tokens.side.honour("causal", "lengths", "cu_seqlens")
    lengths = tokens.sequence_lengths()
    lattices: Any = [None] * len(lengths)
    if side.grid is not None or side.grids is not None:
        lattices = side.lattices(len(lengths))
    packed = tokens.packed()
    held = {name: getattr(packed.side, name) for name in ("positions", "modality", "size", "score")}
    cut = {name: value.split(lengths, 1) for name, value in held.items() if isinstance(value, Tensor)}
    found = []
    for i, x_1ND in enumerate(packed.x.split(lengths, 1)):
        own: dict[str, Any] = {name: pieces[i].clone() for name, pieces in cut.items()}
        one = packed.side.replace(cu_seqlens=None, lengths=None, grids=None, grid=lattices[i], **own)
        found.append(Tokens(x_1ND.clone(), one))
    return found


def _joined(parts: list[Tokens]) -> Tokens:
    """The sequences of several batches as one packed row."""
    if len(parts) == 1:
        return parts[0]
    rows = [part.packed() for part in parts]
    lengths = [n for part in parts for n in part.sequence_lengths()]
    side, changes = rows[0].side, {}
    for name in ("positions", "modality", "size", "score"):
        if isinstance(getattr(side, name), Tensor):
            changes[name] = torch.cat([getattr(row.side, name) for row in rows], 1)
    if side.grids is not None:
        changes["grids"] = tuple(grid for row in rows for grid in row.side.grids or ())
    cu = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32).to(rows[0].x.device)
    return Tokens(torch.cat([row.x for row in rows], 1), side.replace(cu_seqlens=cu, **changes))


def _laid_out(rows: list[Tensor], like: Tokens) -> Tensor:
    """Sequences (1, N, D) in the layout of ``like``; padding is 0."""
    if like.side.cu_seqlens is not None:
        return torch.cat(rows, 1)
    out = rows[0].new_zeros(len(rows), like.x.shape[1], rows[0].shape[2])
    for i, row in enumerate(rows):
        out[i, : row.shape[1]] = row[0]
    return out
