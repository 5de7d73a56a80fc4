"""Table: CSV, TSV and Parquet files, rows and data frames as one token a cell.

Source: Gorishniy et al. 2021, arXiv:2106.11959, sec. 3.3 (numbers and words as tokens, one a column); Huang et al.
2020, arXiv:2012.06678, sec. 2 (missing values have a vector of their own); without a schema the vectors of columns and
words are hashed: Weinberger et al. 2009, arXiv:0902.2206, def. 1.
Axes: B tables, R rows, C columns, D width, M buckets, F values of a cell, S tokens of all tables.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.column_cells import ColumnCells
from unimodal.errors import InputError
from unimodal.reading.opening import source_name
from unimodal.reading.table_record import CALENDAR, KINDS, ColumnScale, TableRecord, encoded
from unimodal.reading.table_source import read_table
from unimodal.reading.typed_column import Column
from unimodal.sample import Batch, Sample
from unimodal.tokens import Tokens

__all__ = ["Table"]


class Table(nn.Module):
    """t = b_j + v w_j for a number in column j, b_j + e_j[word] for a word, row by row.

    One file is one sequence of rows x columns; one row (a mapping of names to values) is a sequence of its columns.

    Without ``columns`` any table can be read. Then b_j, w_j and e_j[word] are one matrix times the hashed codes of the
    column's name and of (name, word) (see :mod:`unimodal.reading.table_record`): columns are known by name alone, so
    their order does not matter, and what was learned of ``age`` serves every table with an ``age``. Numbers are centred
    and scaled by the column's quartiles and pass through asinh; the quartiles are the only way in which rows depend on
    one another, and a single row goes through asinh alone. With ``columns`` every column and word has vectors of its
    own, and scales are fixed: the feature tokenizer as published.

    Of a table with more than ``most`` cells evenly spaced rows are taken, at least one, and of a row that is longer
    than that evenly spaced columns. The record says which.

    Args:
        dim: Width D.
        columns: By name (mean, scale) of a column of numbers or dates (days since 1970-01-01), or its words (always
            strings). See :meth:`schema`. Other columns of a table are left out and named in the record.
        buckets: M, of the hashed codes; the way back needs a width of 2 M + 8.
        hashes: Of a code; M is a multiple of it.
        most: Most tokens of a table.

    Shapes:
        forward: cells (B, R, C, F) or B times (R, C, F), F = 2 M + 8, or 2 with ``columns``;
            returns (B, R C, D) with side.grid (R, C), or when sizes differ packed (1, S, D) with side.grids.

    Raises:
        ValueError: ``columns``, ``buckets``, ``hashes`` or ``most`` are not as above.
        InputError: :meth:`read` gets no table (see :func:`unimodal.reading.table_source.read_table`), or one that lacks
            a column of the schema or has words where the schema has numbers.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab", ".parquet", ".pq")
    variable: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        dim: int,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
        buckets: int = 56,
        hashes: int = 14,
        most: int = 512,
    ) -> None:
        super().__init__()
        if most < 1:
            raise ValueError(f"most must be positive, not {most}")
        if not 1 <= hashes <= 32 or buckets < hashes or buckets % hashes:
            raise ValueError(f"buckets must be a multiple of hashes, and hashes in 1..32, not {buckets} and {hashes}")
        self.buckets, self.hashes, self.most = buckets, hashes, most
        self.columns = None if columns is None else _scales(columns)
        if self.columns is None:
            self.project = nn.Linear(2 * buckets + len(KINDS) + CALENDAR, dim, bias=False)
        else:
            self.cells = ColumnCells(dim, words=[len(column.words) for column in self.columns])

    @staticmethod
    def claims(path: Path) -> float:
        """One half for any text or Parquet file: tokenizers that know more of a table's columns come first."""
        try:
            with path.open("rb") as file:
                head = file.read(512)
        except OSError:
            return 0.5
        return 0.5 if head.startswith((b"PAR1", b"\xff\xfe", b"\xfe\xff")) or b"\0" not in head else 0.05

    @staticmethod
    def examples() -> list[Any]:
        """Rows and columns with numbers, words, dates and missing values, of three sizes."""
        return [
            {
                "age": [31.0, 52.0, None, 18.5],
                "sex": ["f", "m", "f", None],
                "seen": ["2024-01-31", "", "2023-06-01", ""],
            },
            {"age": 40.0, "sex": "m"},
            [{"length": 3 * i % 7, "width": i * i, "colour": "red" if i % 2 else "green"} for i in range(6)],
        ]

    @staticmethod
    def schema(source: Any, *, most: int = 1000) -> dict[str, tuple[Any, ...]]:
        """What ``columns`` takes, from a table to train on: mean and standard deviation, or the commonest words.

        Args:
            source: See :meth:`read`.
            most: Most words of a column.

        Raises:
            InputError: the source is no table.
        """
        return {column.name: _fitted(column, most) for column in read_table(source)[0]}

    def read(self, source: Any) -> Sample:
        """Read one table (see :func:`unimodal.reading.table_source.read_table` for what can be read).

        Shapes:
            sample.data: (R, C, F) float32.
        """
        name = source_name(source)
        columns, left_out = read_table(source)
        size = (len(columns[0]), len(columns))
        if self.columns is not None:
            columns, others = _chosen(columns, self.columns, name)
            left_out = {**left_out, **dict.fromkeys(others, "the schema does not name it")}
        rows = _spaced(size[0], max(1, self.most // len(columns)))
        if self.columns is None:
            columns = [columns[i] for i in _spaced(len(columns), self.most)]
            scales = tuple(ColumnScale.of(column, rows) for column in columns)
            code = {"buckets": self.buckets, "hashes": self.hashes}
            cells = [encoded(column, scale, rows, **code) for column, scale in zip(columns, scales, strict=True)]
            record = TableRecord(name, size, rows, scales, left_out, **code)
        else:
            cells = [_coded(column, scale, rows) for column, scale in zip(columns, self.columns, strict=True)]
            record = TableRecord(name, size, rows, self.columns, left_out)
        data = torch.from_numpy(np.stack(cells, 1).astype(np.float32))
        if not bool(data.isfinite().all()):
            raise InputError(name, "has numbers that are too large for its column's scale", "leave such cells empty")
        return Sample("table", data, name, record, data.shape[0] * data.shape[1], source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, R, C, F) when all tables have one size, else a tuple of (R, C, F).

        Raises:
            ValueError: there are no samples.
        """
        return collated("table", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._embed, modality="table")

    def detokenize(self, tokens: Tokens) -> Batch:
        """The cells whose tokens these are; ``record.restore(cells)`` makes numbers, dates and words of them.

        Without a schema the projection is inverted, and a word is found among those that the record lists. With one,
        the nearest row of the column's table is the word.

        Raises:
            ValueError: without a schema the width is below 2 M + 8; with one the lattice has other columns; or the
                tokens have no lattice.
        """
        tokens = tokens.lattice()
        found = []
        for x_ND, (rows, columns) in zip(tokens.split(), tokens.side.lattices(tokens.sequences), strict=True):
            if self.columns is None:
                found.append(projected_from(x_ND, self.project.weight, None).float().unflatten(0, (rows, columns)))
            else:
                found.append(self.cells.inverse(x_ND.unflatten(0, (rows, columns))))
        return Batch("table", in_one(found))

    def _embed(self, cells: Tensor) -> Tensor:
        if self.columns is not None:
            return self.cells(cells)
        return self.project(cells.to(self.project.weight.dtype)).movedim(-1, 1)


def _scales(columns: Mapping[str, Sequence[Any]]) -> tuple[ColumnScale, ...]:
    if not columns:
        raise ValueError("columns must name at least one column, or be None")
    scales = []
    for name, given in columns.items():
        given = tuple(given) if not isinstance(given, str) else ()
        if given and all(isinstance(word, str) for word in given) and len(set(given)) == len(given):
            scales.append(ColumnScale(name, "word", words=given))
        elif len(given) == 2 and all(isinstance(v, int | float) for v in given) and given[1] > 0:
            scales.append(ColumnScale(name, "number", float(given[0]), float(given[1]), bounded=False))
        else:
            raise ValueError(f"columns[{name!r}] must be (mean, scale > 0) or different words, not {columns[name]!r}")
    return tuple(scales)


def _fitted(column: Column, most: int) -> tuple[Any, ...]:
    if column.kind == "word":
        words, counts = np.unique([word for word in column.words if word is not None] or [""], return_counts=True)
        return tuple(str(word) for word in words[np.argsort(-counts, kind="stable")[:most]])
    known = column.values[~np.isnan(column.values)]
    return (float(known.mean()), float(known.std()) or 1.0) if len(known) else (0.0, 1.0)


def _chosen(columns: list[Column], scales: Sequence[ColumnScale], name: str) -> tuple[list[Column], list[str]]:
    """The columns of the schema, in its order, and the names of the others."""
    held = {column.name.strip().casefold(): column for column in columns}
    wanted = [scale.name.strip().casefold() for scale in scales]
    if absent := [scale.name for scale, key in zip(scales, wanted, strict=True) if key not in held]:
        has = ", ".join(column.name for column in columns[:20])
        raise InputError(name, f"has no column {absent[0]!r}", f"the schema needs it; the table has {has}")
    for scale, key in zip(scales, wanted, strict=True):
        column = held[key]
        if scale.kind == "number" and any(word is not None for word in column.words):
            raise InputError(name, f"the column {scale.name!r} holds words", "the schema has numbers there")
    return [held[key] for key in wanted], [column.name for key, column in held.items() if key not in wanted]


def _coded(column: Column, scale: ColumnScale, rows: Sequence[int]) -> np.ndarray:
    """(v, code) of each row taken, see :class:`unimodal.column_cells.ColumnCells`."""
    cells = np.zeros((len(rows), 2))
    if scale.kind == "number":
        values = column.values[list(rows)] if column.kind != "word" else np.full(len(rows), np.nan)
        known = ~np.isnan(values)
        cells[known, 0], cells[known, 1] = scale.scaled(values[known]), -1
        return cells
    places = {word: i + 1 for i, word in enumerate(scale.words)}
    words = column.words or tuple(None if np.isnan(v) else str(int(v) if v.is_integer() else v) for v in column.values)
    for cell, row in zip(cells, rows, strict=True):
        word = words[row]
        cell[1] = 0 if word is None else places.get(word, len(places) + 1)
    return cells


def _spaced(count: int, most: int) -> tuple[int, ...]:
    """All of ``count`` places, or ``most`` evenly spaced ones."""
    return tuple(range(count)) if count <= most else tuple(i * count // most for i in range(most))
