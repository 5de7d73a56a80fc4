"""What every tokenizer must keep to, as checks that run on anybody's class: the columns of the conformance matrix.

A check passes, raises what is wrong, or raises :class:`NotPossible` with the reason where a tokenizer's own nature
rules the question out (a spectrogram does not give its samples back). Inputs are the tokenizer's own ``examples()``.
"""

import copy
import tempfile
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.block import Block
from unimodal.checkpoint import load_checkpoint, save
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.provenance import Provenance
from unimodal.sample import Batch, Sample
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["CHECKS", "NotPossible", "check_tokenizer", "tokenizer_checks"]

DIM, WIDE = 48, 2048
ULPS = 200  # units in the last place of the largest value: a few hundred sums in another order


class NotPossible(Exception):
    """The question does not arise for this tokenizer; the message says why."""


def check_tokenizer(name: str, cls: Callable[..., nn.Module], **settings: Any) -> list[str]:
    """Run every check on a tokenizer; returns the names of those that hold (the others are not possible for it).

    Args:
        name: Under which it is catalogued.
        cls: The class. ``cls.examples()`` gives three or more sources of different sizes.
        settings: Its keywords.

    Raises:
        AssertionError: some checks failed; the message lists each one with its cause.
    """
    failures, held = [], []
    for title, check in tokenizer_checks(name, cls, **settings).items():
        try:
            check()
        except NotPossible:
            continue
        except Exception as error:
            failures.append(f"{title}: {type(error).__name__}: {error}")
        else:
            held.append(title)
    if failures:
        raise AssertionError(f"{cls.__qualname__} breaks {len(failures)} contracts\n  " + "\n  ".join(failures))
    return held


def tokenizer_checks(name: str, cls: Callable[..., nn.Module], **settings: Any) -> dict[str, Callable[[], None]]:
    """The checks bound to a tokenizer, by name."""
    subject = _Subject(name, cls, settings)
    return {title: lambda check=check: check(subject) for title, check in CHECKS.items()}


class _Subject:
    """A tokenizer under check, its examples, and a small core behind it."""

    def __init__(self, name: str, cls: Any, settings: dict[str, Any]) -> None:
        self.name, self.cls = name, cls
        self.settings = {**getattr(cls, "variable", {}), **settings}

    def build(self, dim: int = DIM, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.cls(dim, **self.settings).eval()

    @cached_property
    def tokenizer(self) -> Any:
        return self.build()

    @cached_property
    def sources(self) -> list[Any]:
        sources = list(self.cls.examples())
        assert len(sources) >= 3, f"examples() gives {len(sources)} sources; three of different sizes are needed"
        return sources[:4]

    @cached_property
    def samples(self) -> list[Sample]:
        return [self.tokenizer.read(source) for source in self.sources]

    @cached_property
    def core(self) -> Transformer:
        torch.manual_seed(1)
        block = Part(Block, mixer=Part(Full, heads=3), ffn=Part(Plain))
        return Transformer(DIM, depth=2, blocks=block, norm=Part(LayerNorm)).eval()

    def tokens(self, samples: list[Sample] | None = None, tokenizer: Any = None) -> Tokens:
        tokenizer = tokenizer or self.tokenizer
        with torch.inference_mode():
            return tokenizer(tokenizer.collate(samples or self.samples))


def encode(subject: _Subject) -> None:
    """Each source becomes finite tokens, as many as its cost says, and again the same."""
    for source, sample in zip(subject.sources, subject.samples, strict=True):
        assert isinstance(sample, Sample), f"read() gives a {type(sample).__name__}, not a Sample"
        assert sample.modality == subject.name, f"the sample's modality is {sample.modality!r}"
        tokens = subject.tokens([sample])
        count = sum(tokens.sequence_lengths())
        assert tokens.sequences == 1, f"{tokens.sequences} sequences of one sample"
        assert count == sample.cost, f"{count} tokens of a sample whose cost says {sample.cost}"
        assert tokens.x.shape[-1] == DIM, f"the width is {tokens.x.shape[-1]}, not {DIM}"
        assert bool(tokens.x.isfinite().all()), "tokens are not finite"
        assert tokens.side.modality == subject.name, f"side.modality is {tokens.side.modality!r}"
        again = subject.tokens([subject.tokenizer.read(source)])
        assert torch.equal(tokens.x, again.x), "a second reading gives other tokens"


def mixed_lengths(subject: _Subject) -> None:
    """A batch of different sizes gives each one the tokens that it gets alone."""
    assert len({sample.cost for sample in subject.samples}) > 1, "examples() are all of one size"
    rows = subject.tokens().split()
    assert len(rows) == len(subject.samples), f"{len(rows)} sequences of {len(subject.samples)} samples"
    for row, sample in zip(rows, subject.samples, strict=True):
        _close(row, subject.tokens([sample]).split()[0], "a sample's tokens in a batch and alone")


def influence(subject: _Subject) -> None:
    """Another sample in the batch, and what stands in the padding, change nothing (exactly)."""
    first, *others = subject.samples
    largest = max(others, key=lambda sample: sample.cost)
    smallest = min(others, key=lambda sample: sample.cost)
    shapes = [tuple(_leaf(s).shape) for s in (largest, smallest)]
    noisy = _noisy(largest)
    before, after = (subject.tokens([first, other]).split()[0] for other in (largest, noisy))
    assert torch.equal(before, after), "a sample's tokens changed with another sample's data"
    changed = subject.tokens([first, noisy]).split()[1]
    assert not torch.equal(changed, subject.tokens([first, largest]).split()[1]), f"data do not matter {shapes}"
    tokens = subject.tokens()
    if tokens.side.lengths is not None:
        lengths = tokens.sequence_lengths()
        filled = tokens.x.clone()
        for row, n in zip(filled, lengths, strict=True):
            row[n:] = 7.0
        with torch.inference_mode():
            pairs = zip(*(subject.core(t).split() for t in (tokens, tokens.replace(filled))), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), "the core's output changed with what stands in the padding"


def packed_is_padded(subject: _Subject) -> None:
    """Through a core, packed and padded batches give the same."""
    tokens = subject.tokens()
    with torch.inference_mode():
        packed, padded = (subject.core(t).split() for t in (tokens.packed(), tokens.padded()))
    for one, other in zip(packed, padded, strict=True):
        _close(one, other, "a sequence packed and padded")


def round_trip(subject: _Subject) -> None:
    """detokenize gives the data back; the record gives them back in the input's own units."""
    if not hasattr(subject.cls, "detokenize"):
        raise NotPossible(getattr(subject.cls, "one_way", "no detokenize"))
    wide = subject.build(WIDE)
    batch = wide.collate(subject.samples)
    with torch.inference_mode():
        back = wide.detokenize(wide(batch))
    assert isinstance(back, Batch), f"detokenize() gives a {type(back).__name__}, not a Batch"
    assert len(back) == len(batch), f"{len(back)} inputs came back of {len(batch)}"
    for given, found in zip(batch.data, back.data, strict=True):
        _back(given, found, "data")


def save_load(subject: _Subject) -> None:
    """A checkpoint of a model with this tokenizer gives the same tokens."""
    part = Part(
        Model,
        dim=DIM,
        tokenizers={subject.name: Part(subject.cls, **subject.settings)},
        transformer=Part(Transformer, depth=1, blocks=Part(Block, mixer=Part(Full, heads=3), ffn=None)),
    )
    torch.manual_seed(3)
    model: Any = part().eval()
    with tempfile.TemporaryDirectory() as folder:
        save(model, folder, part=part, provenance=Provenance())
        again: Any = load_checkpoint(folder, allow_random=True)[0]
    before = subject.tokens(tokenizer=model.tokenizer(subject.name))
    samples = [again.tokenizer(subject.name).read(source) for source in subject.sources]
    after = subject.tokens(samples, again.tokenizer(subject.name))
    assert torch.equal(before.x, after.x), "a loaded model gives other tokens"


def gradient(subject: _Subject) -> None:
    """Every parameter gets a finite gradient, and a copy shares none of them."""
    tokenizer = copy.deepcopy(subject.tokenizer).train()
    parameters = dict(tokenizer.named_parameters())
    if not parameters:
        raise NotPossible("no parameters")
    tokenizer(tokenizer.collate(subject.samples)).x.square().sum().backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"


def export(subject: _Subject) -> None:
    """torch.export takes the forward pass of a batch, and its program gives the same tokens."""
    batch = subject.tokenizer.collate(subject.samples[:1])
    module = _Forward(subject.tokenizer, batch)
    given = module.tensors(batch)
    program = torch.export.export(module, (given,)).module()
    with torch.inference_mode():
        _close(program(given), module(given), "the exported program's tokens")


CHECKS: dict[str, Callable[[_Subject], None]] = {
    "encode": encode,
    "mixed": mixed_lengths,
    "influence": influence,
    "packed": packed_is_padded,
    "back": round_trip,
    "saved": save_load,
    "gradient": gradient,
    "export": export,
}


class _Forward(nn.Module):
    """A tokenizer as a module of tensors, which is what torch.export takes."""

    def __init__(self, tokenizer: nn.Module, batch: Batch) -> None:
        super().__init__()
        self.tokenizer, self.batch = tokenizer, batch

    @staticmethod
    def tensors(batch: Batch) -> tuple[Any, dict[str, Tensor]]:
        return batch.data, {k: v for k, v in batch.extra.items() if isinstance(v, Tensor)}

    def forward(self, given: tuple[Any, dict[str, Tensor]]) -> Tensor:
        data, tensors = given
        batch = Batch(self.batch.modality, data, self.batch.records, {**self.batch.extra, **tensors})
        return self.tokenizer(batch).x


def _leaf(sample: Sample) -> Tensor:
    """The tensor of a sample: its data, or the largest of them."""
    if isinstance(sample.data, Tensor):
        return sample.data
    values = sample.data.values() if isinstance(sample.data, dict) else sample.data
    return max((v for v in values if isinstance(v, Tensor)), key=lambda v: v.numel())


def _noisy(sample: Sample) -> Sample:
    """The sample with other content of the same shape and kind."""
    leaf = _leaf(sample)
    if leaf.is_floating_point():
        other = leaf + 0.5 + torch.rand(leaf.shape, generator=torch.Generator().manual_seed(5)).to(leaf.dtype)
    else:
        low, high = int(leaf.min()), int(leaf.max())
        other = (high - leaf + low).to(leaf.dtype)  # upside down, so within the range that is allowed
    if isinstance(sample.data, Tensor):
        data: Any = other
    elif isinstance(sample.data, dict):
        data = {k: other if v is leaf else v for k, v in sample.data.items()}
    else:
        data = tuple(other if v is leaf else v for v in sample.data)
    return Sample(sample.modality, data, sample.source, sample.record, sample.cost, sample.original)


def _back(given: Tensor, found: Tensor, what: str) -> None:
    """``found`` is ``given`` as far as it goes: what was padded, or dropped behind the last whole patch, may differ."""
    places = tuple(slice(0, min(a, b)) for a, b in zip(given.shape, found.shape, strict=True))
    one, other = given[places], found[places]
    assert one.numel() >= 0.5 * given.numel(), f"{what}: {tuple(found.shape)} of {tuple(given.shape)} came back"
    if not given.is_floating_point():
        assert torch.equal(one.long(), other.long()), f"{what}: other whole numbers came back"
        return
    known = one.isfinite()
    allowed = 1e-4 * max(1.0, float(one[known].abs().max()))
    gap = float((one - other)[known].abs().max())
    assert gap <= allowed, f"{what}: differ by {gap:.3g}"


def _close(one: Tensor, other: Tensor, what: str) -> None:
    assert one.shape == other.shape, f"{what}: shapes {tuple(one.shape)} and {tuple(other.shape)}"
    allowed = ULPS * torch.finfo(other.dtype).eps * max(1.0, float(other.abs().max()))
    gap = float((one - other).abs().max())
    assert gap <= allowed, f"{what} differ by {gap:.3g}, more than rounding explains ({allowed:.3g})"
