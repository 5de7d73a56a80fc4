"""Provenance: which of a model's weights are trained, converted or random, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch.nn as nn

__all__ = ["Provenance"]

_STATUSES = ("trained", "converted", "random")


@dataclass(frozen=True)
class Provenance:
    """A status for each parameter, by the longest prefix of its name.

    *trained*: by a recipe of this project, on data that the card names. *converted*: published by others, in
    another layout. *random*: as the constructor left it. The prefix ``""`` stands for all that no other prefix
    names; a prefix ends at a dot of the name, so ``readout`` does not name ``readouts.x``.

    Args:
        statuses: ``trained``, ``converted`` or ``random`` by prefix.
        source: Where the weights come from, as a user would write it.

    Raises:
        ValueError: an unknown status; :meth:`check`: a parameter without status, or a prefix without parameter.
    """

    statuses: Mapping[str, str] = field(default_factory=lambda: {"": "random"})
    source: str = "built from its parts"

    def __post_init__(self) -> None:
        for prefix, status in self.statuses.items():
            if status not in _STATUSES:
                raise ValueError(f"the status of {prefix!r} must be one of {', '.join(_STATUSES)}, not {status!r}")
        object.__setattr__(self, "statuses", dict(self.statuses))

    @staticmethod
    def of(model: nn.Module) -> "Provenance":
        """What ``model`` says of itself; a model that was built and never loaded is all random."""
        told = model.__dict__.get("provenance")
        return told if isinstance(told, Provenance) else Provenance()

    def attach(self, model: nn.Module) -> None:
        """Let ``model`` say this of itself, after :meth:`check`."""
        self.check(model)
        model.__dict__["provenance"] = self

    def status(self, name: str) -> str | None:
        """The status of the parameter called ``name``, or None if no prefix names it."""
        prefixes = [p for p in self.statuses if _names(p, name)]
        return self.statuses[max(prefixes, key=len)] if prefixes else None

    def check(self, model: nn.Module) -> None:
        """Every parameter has a status, and every prefix names a parameter (or buffer)."""
        names = list(model.state_dict())
        silent = [name for name in names if self.status(name) is None]
        if silent:
            raise ValueError(f"no status for {', '.join(silent[:4])}{' ...' if len(silent) > 4 else ''}")
        idle = [p for p in self.statuses if p and not any(_names(p, name) for name in names)]
        if idle:
            raise ValueError(f"no parameter begins with {', '.join(map(repr, idle))}")

    def random(self, model: nn.Module) -> list[str]:
        """The parts of ``model`` that are random: their prefixes, or ``the whole model``."""
        random = [name for name in model.state_dict() if self.status(name) == "random"]
        found = [p for p, s in self.statuses.items() if s == "random" and any(_names(p, name) for name in random)]
        return [p or ("the whole model" if len(random) == len(model.state_dict()) else "the rest") for p in found]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"statuses": dict(self.statuses), "source": self.source}


def _names(prefix: str, name: str) -> bool:
    return not prefix or name == prefix or name.startswith(prefix + ".")
