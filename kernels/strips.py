"""Strips: which keys a query sees when queries stand in runs of one size, each beside a run of keys.

Source: a window in overlapping chunks of keys: Beltagy et al. 2020, arXiv:2004.05150, sec. 3.1 and appendix A; blocks:
Zhang et al. 2023, arXiv:2310.12442, sec. 3.
Axes: N queries, M keys, R queries of a strip, S keys of a strip.
"""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Strips"]


@dataclass(frozen=True)
class Strips:
    """Queries in runs of R, counted from the start of each sequence; query n stands at the place n + M - N.

    Args:
        rows: R, queries of a strip.
        behind: Keys in front of the strip's first query that it sees (tokens).
        ahead: Keys behind its last query that it sees (tokens).
        window: Of these only the ones at most so far from the query (tokens); None for all.
        causal: Of these only the ones that do not lie behind the query.

    Raises:
        ValueError: rows is below 1, or another number below 0.
    """

    rows: int
    behind: int = 0
    ahead: int = 0
    window: int | None = None
    causal: bool = False

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows is a number of queries, at least 1, not {self.rows}")
        for name, number in (("behind", self.behind), ("ahead", self.ahead), ("window", self.window or 0)):
            if number < 0:
                raise ValueError(f"{name} is a number of tokens, at least 0, not {number}")

    @property
    def span(self) -> int:
        """S, keys of a strip."""
        return self.behind + self.rows + self.ahead

    def seen(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether the query at a place sees the key at another; the places broadcast."""
        start = query.div(self.rows, rounding_mode="floor") * self.rows
        seen = (key >= start - self.behind) & (key < start + self.rows + self.ahead)
        if self.window is not None:
            seen = seen & ((key - query).abs() <= self.window)
        return seen & (key <= query) if self.causal else seen
