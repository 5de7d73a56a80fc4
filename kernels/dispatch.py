"""Which implementation of a fused operator runs here, and why.

A caller asks for ``auto`` (the fastest that fits), ``reference`` (the readable one, the judge) or ``require`` (the
fast one or an error with the reason). There is no process-wide switch: the wish travels with the call.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Choice", "Wish", "decide"]

Wish = Literal["auto", "reference", "require"]


@dataclass(frozen=True)
class Choice:
    """An implementation's name and the reason why it was chosen."""

    implementation: str
    reason: str


def decide(wish: Wish, fast: str, refusal: str | None) -> Choice:
    """Turn a wish and what the fast path says of itself into a choice.

    Args:
        wish: ``auto``, ``reference`` or ``require``.
        fast: The fast implementation's name.
        refusal: Why the fast path cannot run, or None if it can.

    Raises:
        ValueError: an unknown wish.
        RuntimeError: ``require`` and the fast path refuses; the message holds its reason.
    """
    if wish not in ("auto", "reference", "require"):
        raise ValueError(f"implementation must be 'auto', 'reference' or 'require', not {wish!r}")
    if wish == "reference":
        return Choice("reference", "asked for")
    if refusal is None:
        return Choice(fast, "it fits the arguments")
    if wish == "require":
        raise RuntimeError(f"{fast} cannot run: {refusal}")
    return Choice("reference", refusal)
