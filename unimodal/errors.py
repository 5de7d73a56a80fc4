"""The errors a user meets: each one names the thing, what is wrong with it and what would be right."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InputError", "MissingExtraError", "UnknownNameError"]


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
        super().__init__(f"{package} is not installed; it comes with: pip install 'unimodal[{extra}]'")


class UnknownNameError(LookupError):
    """A name is not in a catalog; the message lists the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        self.kind, self.name = kind, name
        self.nearest = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(repr(near) for near in self.nearest)}?"
            if self.nearest
            else f"known: {', '.join(known) or 'none'}"
        )
        super().__init__(f"no {kind} named {name!r}; {hint}")

    def __str__(self) -> str:
        return str(self.args[0])
