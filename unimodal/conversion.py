"""Conversion: published weights, renamed tensor by tensor into models of the one core, with nothing left over.

A converter says where each tensor of ours comes from and which published ones are set aside, and why. What it does
not mention is an error, and so is what it mentions and the file does not have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unimodal.coverage import Coverage
from unimodal.errors import CheckpointError
from unimodal.part import Part

__all__ = ["Conversion", "From", "Published", "Tower", "affine", "realise", "stacked", "transposed"]


@dataclass(frozen=True)
class Published:
    """A published model as it was read, before conversion.

    Args:
        library: ``timm``, ``transformers``, ``open_clip`` or ``point_mae``.
        family: What the library calls the architecture (``vit``, ``clip``); with the library it names the converter.
        source: As the user wrote it.
        config: The library's own configuration, complete with its defaults.
        weights: Every tensor of the weights files.
        pictures: Keywords of the image tokenizer, from the library's preprocessing configuration.
        encoding: How the text tokenizer of this model is found.
        preprocessor: The library's preprocessing configuration as it was stored, {} if there was none.
    """

    library: str
    family: str
    source: str
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    pictures: Mapping[str, Any] = field(default_factory=dict)
    encoding: str = "clip_bpe"
    preprocessor: Mapping[str, Any] = field(default_factory=dict)

    def under(self, prefix: str) -> str:
        """``prefix`` if tensors are stored under it, else nothing (a bare tower saved by itself)."""
        return prefix if any(name.startswith(prefix) for name in self.weights) else ""

    def require(self, setting: str, given: object, *supported: object) -> None:
        """Refuse an architecture setting that the core has no part for.

        Raises:
            CheckpointError: ``given`` is not among ``supported``.
        """
        if given not in supported:
            wanted = " or ".join(repr(value) for value in supported)
            raise CheckpointError(self.source, f"{setting} is {given!r}, the converter knows {wanted}")


@dataclass(frozen=True)
class From:
    """Where one tensor of ours comes from: published names, and what joins them (by default the tensor itself)."""

    names: tuple[str, ...]
    join: Callable[..., Tensor] = lambda tensor: tensor


@dataclass(frozen=True)
class Tower:
    """A Model part and the origin of each of its tensors."""

    part: Part
    table: Mapping[str, From]


@dataclass(frozen=True)
class Conversion:
    """What a converter returns.

    Args:
        towers: By modality; a published pair has two.
        aside: Published tensors that no tower holds, and why (``logit_scale`` and other scalars keep their value).
    """

    towers: Mapping[str, Tower]
    aside: Mapping[str, str] = field(default_factory=dict)


def realise(published: Published, conversion: Conversion) -> dict[str, dict[str, Tensor]]:
    """The weights of every tower, under our names.

    Raises:
        CheckpointError: a published tensor is mentioned by nobody, or a mentioned one is absent; the message is the
            coverage report.
    """
    used = [name for tower in conversion.towers.values() for origin in tower.table.values() for name in origin.names]
    mentioned = {*used, *conversion.aside}
    given = published.weights
    missing = tuple(dict.fromkeys(name for name in used if name not in given))
    unexpected = tuple(name for name in given if name not in mentioned)
    if missing or unexpected:
        found = Coverage(len(mentioned & set(given)), missing, unexpected, ())
        cause = f"the published weights do not fit the {published.family} converter: {found}"
        raise CheckpointError(published.source, cause)
    return {
        modality: {ours: origin.join(*(given[name] for name in origin.names)) for ours, origin in tower.table.items()}
        for modality, tower in conversion.towers.items()
    }


def affine(ours: str, *theirs: str, bias: bool = True) -> dict[str, From]:
    """A linear map or a norm: its weight and bias, joined along the outputs if the peer keeps it in several."""
    kinds = ("weight", "bias") if bias else ("weight",)
    return {f"{ours}.{kind}": stacked(*(f"{name}.{kind}" for name in theirs)) for kind in kinds}


def stacked(*names: str) -> From:
    """One tensor, or several along the first axis."""
    return From(names) if len(names) == 1 else From(names, lambda *tensors: torch.cat(tensors))


def transposed(name: str) -> From:
    """A matrix that the peer multiplies from the other side."""
    return From((name,), lambda matrix: matrix.T.contiguous())
