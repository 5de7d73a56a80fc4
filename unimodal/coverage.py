"""Coverage: which tensors a model wants, which a file gives, and how the two differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch.nn as nn
from torch import Tensor

from unimodal.errors import CheckpointError

__all__ = ["Coverage", "cover", "load_strictly"]

_SHOWN = 8


@dataclass(frozen=True)
class Coverage:
    """The outcome of comparing names and shapes.

    Args:
        matched: How many tensors agree in name and shape.
        missing: Wanted, not given.
        unexpected: Given, not wanted.
        misshaped: Wanted and given, with another shape: (name, given shape, wanted shape).
    """

    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def complete(self) -> bool:
        """Whether every tensor has its place, and every place its tensor."""
        return not (self.missing or self.unexpected or self.misshaped)

    def __str__(self) -> str:
        counts = (
            f"{self.matched} tensors match, {len(self.missing)} are missing, "
            f"{len(self.unexpected)} are unexpected, {len(self.misshaped)} have another shape"
        )
        lines = [
            *_lines("missing", [name + _near(name, self.unexpected) for name in self.missing]),
            *_lines("unexpected", [name + _near(name, self.missing) for name in self.unexpected]),
            *_lines("shape", [f"{name}: {given}, the model wants {want}" for name, given, want in self.misshaped]),
        ]
        return "\n".join([counts, *lines])


def cover(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> Coverage:
    """Compare names and shapes."""
    shared = [name for name in wanted if name in given]
    return Coverage(
        matched=sum(wanted[name] == given[name] for name in shared),
        missing=tuple(name for name in wanted if name not in given),
        unexpected=tuple(name for name in given if name not in wanted),
        misshaped=tuple((n, given[n], wanted[n]) for n in shared if wanted[n] != given[n]),
    )


def load_strictly(model: nn.Module, weights: Mapping[str, Tensor], source: object) -> Coverage:
    """Copy ``weights`` into ``model``, in the model's dtype; every tensor has to fit.

    Raises:
        CheckpointError: tensors are missing, unexpected or of another shape; the message is the coverage report.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = cover(wanted, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    if not found.complete:
        raise CheckpointError(source, f"the weights do not fit the model: {found}")
    model.load_state_dict(dict(weights))
    return found


def _near(name: str, others: tuple[str, ...]) -> str:
    near = get_close_matches(name, others, n=1, cutoff=0.75)
    return f" (nearest: {near[0]})" if near else ""


def _lines(kind: str, entries: list[str]) -> list[str]:
    more = [f"  {kind}: and {len(entries) - _SHOWN} more"] if len(entries) > _SHOWN else []
    return [f"  {kind}: {entry}" for entry in entries[:_SHOWN]] + more
