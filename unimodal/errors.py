"""The errors a user meets: each one names the thing, what is wrong with it and what would be right."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["CheckpointError", "InputError", "MissingExtraError", "UnknownNameError"]


class InputError(ValueError):
    """One input (a file, an array, a row) cannot be used; the rest of a run goes on.

    Args:
        source: The input as the user gave it (a path, a row's name).
        cause: What is wrong, as a clause.
        remedy: What would be right, as a clause.
    """

    def __init__(self, source: object, cause: str, remedy: str = "") -> None:
        self.source, self.cause, self.remedy = str(source), cause, remedy
        super().__init__(source, cause, remedy)

    def __str__(self) -> str:
        return f"{self.source}: {self.cause}" + (f"; {self.remedy}" if self.remedy else "")


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(package, extra)  # its own arguments, so that it can be copied and sent between processes

    def __str__(self) -> str:
        return f"{self.package} is not installed; it comes with: pip install 'unimodal[{self.extra}]'"


class UnknownNameError(LookupError):
    """A name is not in a catalog; the message lists the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        self.nearest = get_close_matches(name, self.known, n=3, cutoff=0.5)
        super().__init__(kind, name, self.known)

    def __str__(self) -> str:
        near = " or ".join(repr(name) for name in self.nearest)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(self.known) or 'none'}"
        return f"no {self.kind} named {self.name!r}; {hint}"


class CheckpointError(ValueError):
    """Weights cannot be used as they are; the message names their source, what is wrong and what would be right.

    Args:
        source: The file, folder or hub id.
        cause: What is wrong, as a clause.
        remedy: What would be right, as a clause.
    """

    def __init__(self, source: object, cause: str, remedy: str = "") -> None:
        self.source, self.cause, self.remedy = str(source), cause, remedy
        super().__init__(source, cause, remedy)

    def __str__(self) -> str:
        return f"{self.source}: {self.cause}" + (f"; {self.remedy}" if self.remedy else "")
