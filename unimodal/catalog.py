"""Catalog: the folder is the registry, the file stem is the name; other packages join by entry point.

A family (``mixers``, ``norms``, ``tokenizers``, ``tasks`` ...) is a folder of ``unimodal``. A file in it that lists
exactly one name in ``__all__`` is a part, called by the file's stem. Another distribution adds a part of the same
family with an entry point in the group ``unimodal.<family>``. Nothing is imported before it is asked for, and a
plugin that cannot be imported, clashes or breaks the contract is reported by :meth:`Catalog.problems` only.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from unimodal.errors import UnknownNameError

__all__ = ["FAMILIES", "Catalog", "Problem", "catalog"]

FAMILIES = MappingProxyType(
    {
        "attention": "attention rule",
        "mixers": "mixer",
        "norms": "norm",
        "ffns": "feed-forward",
        "positions": "position",
        "stems": "stem",
        "spectra": "spectrum",
        "readouts": "readout",
        "objectives": "objective",
        "tokenizers": "tokenizer",
        "recipes": "recipe",
        "converters": "converter",
        "tasks": "task",
    }
)


@dataclass(frozen=True)
class Problem:
    """A plugin that was found but cannot be used, and why."""

    family: str
    name: str
    source: str
    cause: str


class Catalog:
    """The parts of one family by name.

    Args:
        family: A folder of ``unimodal``, one of :data:`FAMILIES`.

    Raises:
        UnknownNameError: ``family`` or a name asked for does not exist (the message suggests neighbours).
    """

    def __init__(self, family: str) -> None:
        if family not in FAMILIES:
            raise UnknownNameError("family", family, FAMILIES)
        self.family, self.kind = family, FAMILIES[family]
        folder = Path(__file__).parent / family
        self._built_in = {
            path.stem: f"unimodal.{family}.{path.stem}"
            for path in sorted(folder.glob("*.py"))
            if not path.stem.startswith("_")
        }
        self._plugins: dict[str, metadata.EntryPoint] = {}
        self._clashes: list[Problem] = []
        for point in metadata.entry_points(group=f"unimodal.{family}"):
            owner = _owner(point)
            if point.name in self._built_in:
                cause = f"the name {point.name!r} is taken by unimodal itself; rename the entry point"
            elif point.name in self._plugins and self._plugins[point.name].value == point.value:
                continue
            elif point.name in self._plugins:
                first = _owner(self._plugins[point.name])
                cause = f"the name {point.name!r} is taken by {first}; rename one entry point"
            else:
                self._plugins[point.name] = point
                continue
            self._clashes.append(Problem(family, point.name, owner, cause))
        self._loaded: dict[str, Any] = {}

    def names(self) -> list[str]:
        """All names, without importing anything."""
        return sorted([*self._built_in, *self._plugins])

    def source(self, name: str) -> str:
        """Who provides ``name``: ``unimodal`` or the plugin's distribution."""
        return _owner(self._plugins[name]) if name in self._plugins else "unimodal"

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._plugins

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name not in self:
            raise UnknownNameError(self.kind, name, self.names())
        if name not in self._loaded:
            self._loaded[name] = self._import(name)
        return self._loaded[name]

    def usable(self) -> dict[str, Any]:
        """Every part that imports, by name; the others are in :meth:`problems`."""
        self.problems()
        return {name: self[name] for name in self.names() if name in self._built_in or name in self._loaded}

    def problems(self) -> list[Problem]:
        """Plugins that clash, fail to import or break the family's contract. Imports every plugin."""
        found = list(self._clashes)
        for name, point in self._plugins.items():
            try:
                self[name]
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                found.append(Problem(self.family, name, _owner(point), f"{type(error).__name__}: {error}"))
        return found

    def name_of(self, part: object) -> str | None:
        """The name under which ``part`` is catalogued, or None."""
        module, _, stem = getattr(part, "__module__", "").rpartition(".")
        if module == f"unimodal.{self.family}" and stem in self._built_in and self[stem] is part:
            return stem
        package = module.partition(".")[0] or stem
        for name, point in self._plugins.items():
            if name in self._loaded or point.module.partition(".")[0] == package:
                try:
                    if self[name] is part:
                        return name
                except Exception:
                    continue
        return None

    def _import(self, name: str) -> Any:
        if name in self._plugins:
            part = self._plugins[name].load()
            if not callable(part):
                raise TypeError(f"entry point {self._plugins[name].value} is not a class or function")
        else:
            module = importlib.import_module(self._built_in[name])
            public = getattr(module, "__all__", ())
            if len(public) != 1:
                raise TypeError(f"{module.__name__} must list exactly one name in __all__, not {list(public)}")
            part = getattr(module, public[0])
        if self.family == "tasks":
            from unimodal.task import require_task_contract

            require_task_contract(part, name)
        return part


@cache
def catalog(family: str) -> Catalog:
    """The catalog of ``family``; built once a process."""
    return Catalog(family)


def _owner(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
