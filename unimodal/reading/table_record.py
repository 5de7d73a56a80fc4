"""Table record: which cells of a table became tokens, how they were scaled, and the way back to its own values.

Source: Gorishniy et al. 2021, arXiv:2106.11959, sec. 3.3 (one token a feature); robust scale: the quartiles.
Axes: R rows taken, C columns taken, M buckets of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from unimodal.hashed_code import hashed_code
from unimodal.reading.typed_column import Column
from unimodal.time_features import time_features

__all__ = ["KINDS", "ColumnScale", "TableRecord", "encoded"]

KINDS = ("number", "date", "word", "missing")
CALENDAR = 4  # unimodal.time_features
SIGMA = 1.349  # quartiles of a normal distribution lie so many standard deviations apart


@dataclass(frozen=True)
class ColumnScale:
    """v = asinh((value - centre) / scale), or v = (value - centre) / scale where ``bounded`` is false.

    Args:
        name: Of the column.
        kind: number, date or word.
        centre: The column's median, in its own unit (days since 1970-01-01 for dates).
        scale: Its quartiles' distance over 1.349; its standard deviation where that is 0, and 1 where both are.
        bounded: Whether asinh follows, so that one extreme value does not drown the others: it is the identity around
            0 and a logarithm far from it, and has an inverse.
        words: The different words that were taken, or all that a schema knows.
        unit: See :class:`unimodal.reading.typed_column.Column`.
        whole: Whether every value is a whole number (of days for dates), so that it is rounded on the way back.
    """

    name: str
    kind: str
    centre: float = 0.0
    scale: float = 1.0
    bounded: bool = True
    words: tuple[str, ...] = ()
    unit: str = ""
    whole: bool = False

    @staticmethod
    def of(column: Column, rows: Sequence[int]) -> "ColumnScale":
        """The scale of a whole column; a single row has none (centre 0, scale 1)."""
        if column.kind == "word":
            taken = {word: None for i in rows if (word := column.words[i]) is not None}
            return ColumnScale(column.name, "word", words=tuple(taken))
        known = column.values[~np.isnan(column.values)]
        whole = bool((known == np.round(known)).all())
        if len(column) == 1 or not len(known):
            return ColumnScale(column.name, column.kind, unit=column.unit, whole=whole)
        low, centre, high = np.percentile(known, (25, 50, 75))
        scale = float((high - low) / SIGMA or np.std(known) or 1.0)
        scale = scale if np.isfinite(scale) and scale > 1e-12 * abs(centre) else 1.0
        return ColumnScale(column.name, column.kind, float(centre), scale, unit=column.unit, whole=whole)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values of the column as the tokenizer sees them."""
        v = (values - self.centre) / self.scale
        return np.arcsinh(v) if self.bounded else v

    def restored(self, v: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`scaled`."""
        return self.centre + self.scale * (np.sinh(v) if self.bounded else v)

    def code(self, *words: str, buckets: int, hashes: int) -> np.ndarray:
        """The code of the column's name, and of a word in it. Upper and lower case of names are one."""
        return hashed_code((self.name.strip().casefold(), *words), buckets=buckets, hashes=hashes)


@dataclass(frozen=True)
class TableRecord:
    """What was taken of a table, and how it comes back.

    Args:
        source: The table's name.
        size: Rows and columns of the whole table (without columns that hold no values).
        rows: Which rows were taken, from 0, in order.
        columns: The columns that were taken, in order.
        left_out: Why other columns were left out, by name.
        buckets: M of the cells' codes; 0 where a schema was used.
        hashes: Of the codes.
    """

    source: str
    size: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[ColumnScale, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    buckets: int = 0
    hashes: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of it, in words."""
        part = f"{len(self.rows)} of {self.size[0]} rows were taken, evenly spaced"
        columns = f"{len(self.columns)} of {self.size[1]} columns were taken"
        return (
            *([part] if len(self.rows) < self.size[0] else []),
            *([columns] if len(self.columns) < self.size[1] else []),
            *(f"column {name!r} was left out: {cause}" for name, cause in self.left_out.items()),
        )

    def restore(self, values: Tensor) -> dict[str, list[Any]]:
        """Each column's values: numbers in their own unit, datetime64 for dates, words; None where missing.

        Of hashed words the one among ``columns[c].words`` whose code is nearest comes back.

        Shapes:
            values: (R, C, F), what :meth:`Table.read` gives as ``sample.data`` or :meth:`Table.detokenize` gives back.
        """
        cells = values.detach().cpu().double().numpy()
        read = self._schema_cells if self.buckets == 0 else self._hashed_cells
        return {column.name: read(column, cells[:, c]) for c, column in enumerate(self.columns)}

    def _hashed_cells(self, column: ColumnScale, cells: np.ndarray) -> list[Any]:
        m, size = self.buckets, {"buckets": self.buckets, "hashes": self.hashes}
        kinds = cells[:, 2 * m : 2 * m + len(KINDS)].argmax(1)
        v = cells[:, m : 2 * m] @ column.code(**size)
        codes = np.stack([column.code(word, **size) for word in column.words]) if column.words else np.zeros((0, m))
        found: list[Any] = []
        for kind, value, content in zip(kinds, v, cells[:, m : 2 * m], strict=True):
            if KINDS[kind] == "word" and column.words:
                found.append(column.words[int((codes @ content).argmax())])
            else:
                found.append(_value(column, value) if KINDS[kind] in ("number", "date") else None)
        return found

    @staticmethod
    def _schema_cells(column: ColumnScale, cells: np.ndarray) -> list[Any]:
        found: list[Any] = []
        for value, code in cells:
            if round(code) == -1:
                found.append(_value(column, value))
            else:
                known = 1 <= round(code) <= len(column.words)
                found.append(column.words[round(code) - 1] if known else None)
        return found


def encoded(column: Column, scale: ColumnScale, rows: Sequence[int], *, buckets: int, hashes: int) -> np.ndarray:
    """The cells of one column as vectors: the name's code, the content's code, the kind, and a date's calendar.

    The content of a number or date is v times the name's code, that of a word is the code of (name, word), and that
    of a missing cell is a code of the name's own. So one matrix W over all cells is, for each column j, the feature
    tokenizer b_j + v W_j with b_j = W_name code(j) and W_j = W_content code(j), and a lookup table for its words.

    Shapes:
        returns (R, 2 M + 4 + 4) float32.
    """
    size = {"buckets": buckets, "hashes": hashes}
    cells = np.zeros((len(rows), 2 * buckets + len(KINDS) + CALENDAR), np.float32)
    name, missing = scale.code(**size), scale.code("", "missing", **size)
    cells[:, :buckets] = name
    content, kinds = cells[:, buckets : 2 * buckets], cells[:, 2 * buckets : 2 * buckets + len(KINDS)]
    if column.kind == "word":
        for cell, kind, row in zip(content, kinds, rows, strict=True):
            word = column.words[row]
            cell[:] = missing if word is None else scale.code(word, **size)
            kind[KINDS.index("missing" if word is None else "word")] = 1
        return cells
    taken = column.values[list(rows)]
    known = ~np.isnan(taken)
    content[known] = scale.scaled(taken[known])[:, None] * name
    content[~known] = missing
    kinds[known, KINDS.index(column.kind)] = 1
    kinds[~known, KINDS.index("missing")] = 1
    if column.kind == "date" and known.any():
        cells[known, -CALENDAR:] = time_features(_moments(taken[known])).T
    return cells


def _value(column: ColumnScale, v: float) -> Any:
    value = column.restored(np.asarray(v))
    value = np.round(value) if column.whole else value
    if column.kind != "date":
        return float(value)
    return _moments(value[None])[0].astype("datetime64[D]" if column.whole else "datetime64[s]")


def _moments(days: np.ndarray) -> np.ndarray:
    return np.round(days * 86_400).astype("datetime64[s]")
