"""Side: what is known about a sequence of tokens besides the tokens themselves.

Axes: B rows, S sequences (S = B, or the number of packed sequences), H heads, N queries, M keys, P coordinates.
"""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from unimodal.tokens import Tokens

__all__ = ["Side"]

_CONSTRAINTS = ("mask", "bias", "memory", "causal", "lengths", "cu_seqlens")


@dataclass(frozen=True, eq=False)
class Side:
    """Descriptions may go unused; constraints are honoured or refused by name, never ignored.

    Descriptions:
        grid: Lattice sizes in C order, e.g. ``(rows, columns)``, when every sequence has the same.
        grids: One lattice a sequence, when they differ (mixed sizes, packed or padded).
        levels: Lattices of two axes that stand end to end in every sequence, when it has several (a pyramid's).
        prefix: Leading tokens of every sequence that are off the lattice (class, register, query tokens).
        positions: (B, N, P) continuous coordinates, unit stated by the tokenizer; or vectors as wide as the tokens,
            where mixers add them (:class:`~unimodal.mixers.located.Located`).
        modality: One name for all tokens, or ids (B, N).
        size: (B, N) how many original tokens each one stands for, after merging.
        score: (B, N) how much each token has been looked at so far, 0 for the prefix; a higher one counts for more.

    Constraints:
        mask: Boolean, broadcastable to (B, H, N, M), True = may attend; a row without any key gives 0.
        bias: Float, broadcastable to (B, H, N, M), added to the attention logits (natural log units).
        memory: Tokens that supply keys and values (cross-attention).
        causal: Token i attends to tokens 0..i only (to keys up to i + M - N if there are M > N keys).
        lengths: (B,) real tokens of each row of a padded batch; the tokens behind them are padding.
        cu_seqlens: (S + 1,) int32 boundaries of the sequences of a packed batch, whose B is 1.
    """

    grid: tuple[int, ...] | None = None
    grids: tuple[tuple[int, ...], ...] | None = None
    levels: tuple[tuple[int, int], ...] | None = None
    prefix: int = 0
    positions: Tensor | None = None
    modality: str | Tensor | None = None
    size: Tensor | None = None
    score: Tensor | None = None
    mask: Tensor | None = None
    bias: Tensor | None = None
    memory: "Tokens | None" = None
    causal: bool = False
    lengths: Tensor | None = None
    cu_seqlens: Tensor | None = None

    def __post_init__(self) -> None:
        if self.lengths is not None and self.cu_seqlens is not None:
            raise ValueError("lengths (padded) and cu_seqlens (packed) exclude each other")
        if self.grid is not None and self.grids is not None:
            raise ValueError("give grid (one lattice for all) or grids (one a sequence), not both")
        if self.levels is not None and (self.grid is not None or self.grids is not None):
            raise ValueError("give levels (several lattices a sequence) or a lattice, not both")

    def honour(self, *names: str) -> "Side":
        """Declare which constraints the caller obeys; returns this side.

        Raises:
            ValueError: a constraint is set that is not among ``names``.
        """
        for name in _CONSTRAINTS:
            if name not in names and getattr(self, name) is not None and getattr(self, name) is not False:
                obeyed = ", ".join(names) or "none"
                raise ValueError(f"the constraint {name!r} is set and not supported here (supported: {obeyed})")
        return self

    def replace(self, **changes: Any) -> "Side":
        """A copy with some fields changed."""
        return replace(self, **changes)

    def lattices(self, sequences: int) -> tuple[tuple[int, ...], ...]:
        """The lattice of each of ``sequences`` sequences.

        Raises:
            ValueError: the side describes no lattice, or not one for each sequence.
        """
        if self.grids is not None:
            if len(self.grids) != sequences:
                raise ValueError(f"side.grids has {len(self.grids)} lattices for {sequences} sequences")
            return self.grids
        if self.grid is None:
            raise ValueError("side.grid (or side.grids) is needed here and not set")
        return (self.grid,) * sequences

    def tensors(self) -> dict[str, Any]:
        """The fields that hold tensors (or tokens), by name."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v for k, v in held.items() if k in _DYNAMIC and v is not None and not isinstance(v, str)}


_DYNAMIC = ("positions", "modality", "size", "score", "mask", "bias", "memory", "lengths", "cu_seqlens")
