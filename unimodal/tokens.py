"""Tokens: the one currency between tokenizers, the core and the tasks.

Axes: B rows, N tokens a row, D width, S sequences.
"""

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import _pytree as pytree

from unimodal.kernels.packing import pack, unpack
from unimodal.side import Side

__all__ = ["Tokens"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of token sequences ``x`` (B, N, D) and what is known about them.

    Three layouts: *uniform* (every row full), *padded* (``side.lengths`` says how many tokens of each row are
    real) and *packed* (B = 1, sequences end to end, ``side.cu_seqlens`` says where). :meth:`packed` and
    :meth:`padded` are exact inverses on the real tokens (views where no row has padding). Registered as a pytree, so
    that torch.compile, torch.export and checkpointing see through it.

    Raises:
        ValueError: ``x`` is not three-dimensional, or a packed batch has more than one row.
    """

    x: Tensor
    side: Side = Side()

    def __post_init__(self) -> None:
        if isinstance(self.x, Tensor) and self.x.ndim != 3:
            raise ValueError(f"tokens have the axes (batch, tokens, width), not shape {tuple(self.x.shape)}")
        if self.side.cu_seqlens is not None and self.x.shape[0] != 1:
            raise ValueError(f"a packed batch has one row, not {self.x.shape[0]}")

    @property
    def sequences(self) -> int:
        """How many sequences there are, in any layout."""
        cu = self.side.cu_seqlens
        return self.x.shape[0] if cu is None else len(cu) - 1

    def replace(self, x: Tensor | None = None, **changes: Any) -> "Tokens":
        """The same tokens with another ``x`` or other side fields."""
        return Tokens(self.x if x is None else x, self.side.replace(**changes) if changes else self.side)

    def sequence_lengths(self) -> list[int]:
        """Real tokens of each sequence (reads the device)."""
        if self.side.cu_seqlens is not None:
            return self.side.cu_seqlens.diff().tolist()
        if self.side.lengths is not None:
            return self.side.lengths.tolist()
        return [self.x.shape[1]] * self.x.shape[0]

    def split(self) -> list[Tensor]:
        """Each sequence's real tokens, (N_s, D)."""
        if self.side.cu_seqlens is not None:
            return [self.x[0, a:b] for a, b in pairwise(self.side.cu_seqlens.tolist())]
        return [row[:n] for row, n in zip(self.x, self.sequence_lengths(), strict=True)]

    def packed(self) -> "Tokens":
        """The same sequences end to end in one row, without padding.

        Raises:
            ValueError: a mask, bias or memory is set: their axes have no packed form.
        """
        if self.side.cu_seqlens is not None:
            return self
        self.side.honour("causal", "lengths")
        rows, tokens = self.x.shape[:2]
        lengths = self.side.lengths
        lengths = torch.full((rows,), tokens, device=self.x.device) if lengths is None else lengths
        return Tokens(
            pack(self.x, lengths),
            self.side.replace(
                cu_seqlens=F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32),
                lengths=None,
                grid=None,
                grids=self.side.grids or (None if self.side.grid is None else (self.side.grid,) * rows),
                **{name: pack(value, lengths) for name, value in self._per_token()},
            ),
        )

    def padded(self) -> "Tokens":
        """The same sequences as rows of one length; shorter ones are filled with zeros and get ``lengths``."""
        if self.side.cu_seqlens is None:
            return self
        self.side.honour("causal", "cu_seqlens")
        lengths = self.side.cu_seqlens.diff().long()
        grids = self.side.grids
        uniform = grids is not None and len(set(grids)) == 1
        return Tokens(
            unpack(self.x, lengths),
            self.side.replace(
                cu_seqlens=None,
                lengths=None if len(set(lengths.tolist())) == 1 else lengths,
                grid=grids[0] if grids is not None and uniform else self.side.grid,
                grids=None if uniform else grids,
                **{name: unpack(value, lengths) for name, value in self._per_token()},
            ),
        )

    def lattice(self) -> "Tokens":
        """The tokens without their prefix (class and register tokens)."""
        prefix = self.side.prefix
        if prefix == 0:
            return self
        if self.side.cu_seqlens is None:
            self.side.honour("causal", "lengths")
            per_token = {name: value[:, prefix:] for name, value in self._per_token()}
            lengths = None if self.side.lengths is None else self.side.lengths - prefix
            return Tokens(self.x[:, prefix:], self.side.replace(prefix=0, lengths=lengths, **per_token))
        return self.padded().lattice().packed()

    def _per_token(self) -> list[tuple[str, Tensor]]:
        held = {name: getattr(self.side, name) for name in ("positions", "modality", "size", "score")}
        return [(name, value) for name, value in held.items() if isinstance(value, Tensor)]


def _flatten_side(side: Side) -> tuple[list[Any], Any]:
    moving = side.tensors()
    fixed = tuple((f.name, getattr(side, f.name)) for f in fields(side) if f.name not in moving)
    return list(moving.values()), (tuple(moving), fixed)


def _flatten_side_with_keys(side: Side) -> tuple[list[tuple[Any, Any]], Any]:
    values, context = _flatten_side(side)
    return [(pytree.GetAttrKey(name), value) for name, value in zip(context[0], values, strict=True)], context


def _unflatten_side(values: Any, context: Any) -> Side:
    names, fixed = context
    # Leaves may be placeholders (None, specs) while a tree is only described: skip the checks of the constructor.
    side = object.__new__(Side)
    for name, value in (*zip(names, values, strict=True), *fixed):
        object.__setattr__(side, name, value)
    return side


def _unflatten_tokens(values: Any, context: Any) -> Tokens:
    tokens = object.__new__(Tokens)
    x, side = values
    object.__setattr__(tokens, "x", x)
    object.__setattr__(tokens, "side", side)
    return tokens


def _flatten_tokens_with_keys(tokens: Tokens) -> tuple[list[tuple[Any, Any]], Any]:
    return [(pytree.GetAttrKey("x"), tokens.x), (pytree.GetAttrKey("side"), tokens.side)], None


pytree.register_pytree_node(
    Side,
    _flatten_side,
    _unflatten_side,
    serialized_type_name="unimodal.Side",
    flatten_with_keys_fn=_flatten_side_with_keys,
)
pytree.register_pytree_node(
    Tokens,
    lambda t: ([t.x, t.side], None),
    _unflatten_tokens,
    serialized_type_name="unimodal.Tokens",
    flatten_with_keys_fn=_flatten_tokens_with_keys,
)
