"""Table source: CSV, TSV and Parquet files, rows, columns and data frames as typed columns of one length."""

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.delimited import read_delimited
from unimodal.reading.opening import open_stream, source_name, told
from unimodal.reading.typed_column import Column, typed_column

__all__ = ["read_table"]

_WORKBOOKS = {
    b"PK\x03\x04": "a workbook or archive (.xlsx, .ods, .zip)",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls)",
}


def read_table(source: Any) -> tuple[list[Column], dict[str, str]]:
    """The columns of a table, and why others were left out (by name).

    Left out are columns whose cells are no values (bytes, lists, records), as long as others remain.

    Args:
        source: A path, bytes or binary file of a CSV, TSV or Parquet file; a mapping of names to values (one row) or
            to sequences (columns); a sequence of such rows, where a name that a row lacks is missing there; an array
            with named fields or of two axes; a pyarrow table; or a data frame (anything with ``columns`` whose items
            are columns).

    Raises:
        InputError: it cannot be opened or read, has no rows or no columns, columns of different lengths, or no column
            that holds values.
    """
    name = source_name(source)
    comma = False
    if isinstance(source, Mapping):
        given = _of_mapping(source, name)
    elif isinstance(source, np.ndarray):
        given = _of_array(source, name)
    elif hasattr(source, "column_names") and hasattr(source, "to_pydict"):
        given = _of_arrow(source)
    elif hasattr(source, "columns") and hasattr(source, "__getitem__"):
        given = _of_frame(source)
    elif isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray | memoryview):
        given = _of_rows(source, name)
    else:
        given, comma = _of_file(source, name)
    lengths = {len(cells) for _, cells in given}
    if len(lengths) > 1:
        raise InputError(name, f"its columns have different lengths ({min(lengths)} to {max(lengths)})")
    if not given or lengths == {0}:
        raise InputError(name, "has no rows" if given else "has no columns", "a table has rows and columns")
    columns, left_out = [], {}
    for title, cells in given:
        try:
            columns.append(typed_column(title, cells, name, decimal_comma=comma))
        except InputError as error:
            if "infinite" in error.cause:
                raise
            left_out[title] = error.cause
    if not columns:
        raise InputError(
            name, f"no column holds values: {next(iter(left_out.values()))}", "a cell is a number or a word"
        )
    return columns, left_out


def _of_file(source: Any, name: str) -> tuple[list[tuple[str, Any]], bool]:
    with ExitStack() as files:
        content = open_stream(source, files, what="a table", also="rows, columns, a data frame").read()
    if content[:4] == b"PAR1" or name.lower().endswith((".parquet", ".pq")):
        return _parquet(content, name), False
    for magic, kind in _WORKBOOKS.items():
        if content.startswith(magic):
            raise InputError(name, f"is {kind}, not a table of text", "save the sheet as CSV")
    try:
        table = read_delimited(content, what="a table")
    except InputError as error:
        raise InputError(name, error.cause, error.remedy) from None
    return list(zip(table.names, table.words, strict=True)), table.decimal_comma


def _parquet(content: bytes, name: str) -> list[tuple[str, Any]]:
    import pyarrow.parquet as parquet

    if not content:
        raise InputError(name, "is empty (0 bytes)", "a table has rows and columns")
    try:
        return _of_arrow(parquet.ParquetFile(io.BytesIO(content)).read())
    except Exception as error:  # damaged files make the decoder raise nearly anything
        raise InputError(name, f"is no Parquet file, or a damaged one ({told(error)})") from error


def _of_arrow(table: Any) -> list[tuple[str, Any]]:
    found = []
    for title, column in zip(_distinct(table.column_names), table.columns, strict=True):
        kind = str(column.type)
        plain = kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float", "double", "halffloat")
        try:
            found.append((title, column.to_numpy() if plain else column.to_pylist()))
        except Exception:  # a moment outside of what Python's own can say
            found.append((title, [str(cell) for cell in column]))
    return found


def _of_frame(frame: Any) -> list[tuple[str, Any]]:
    titles = _distinct([str(title) for title in frame.columns])
    if hasattr(frame, "iloc"):
        series = [frame.iloc[:, i] for i in range(len(titles))]
    else:
        series = [frame[title] for title in frame.columns]
    plain = (np.asarray(s) if getattr(getattr(s, "dtype", None), "kind", "O") in "iufM" else list(s) for s in series)
    return list(zip(titles, plain, strict=True))


def _of_mapping(source: Mapping[Any, Any], name: str) -> list[tuple[str, Any]]:
    many = {title: _many(cells) for title, cells in source.items()}
    if any(many.values()) and not all(many.values()):
        odd = next(title for title, is_many in many.items() if not is_many)
        raise InputError(
            name, f"some values are columns and {odd!r} is a single one", "give all as columns, or one row"
        )
    single = not any(many.values())
    titles = _distinct([str(title) for title in source])
    return [(title, [cells] if single else _cells(cells)) for title, cells in zip(titles, source.values(), strict=True)]


def _of_rows(rows: Sequence[Any], name: str) -> list[tuple[str, Any]]:
    if not rows:
        raise InputError(name, "has no rows", "a table has rows and columns")
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(
                name, f"item {i} is a {type(row).__name__}", "each row is a mapping of column names to values"
            )
    titles = {title: None for row in rows for title in row}
    return [(str(title), [row.get(title) for row in rows]) for title in titles]


def _of_array(array: np.ndarray, name: str) -> list[tuple[str, Any]]:
    if array.dtype.names:
        return [(title, array[title].reshape(-1)) for title in array.dtype.names]
    if array.ndim != 2:
        raise InputError(name, f"an array of {array.ndim} axes is no table", "give one of two axes: rows, columns")
    return [(f"column {i + 1}", array[:, i]) for i in range(array.shape[1])]


def _many(cells: Any) -> bool:
    return hasattr(cells, "__len__") and not isinstance(cells, str | bytes | bytearray | Mapping)


def _cells(cells: Any) -> Any:
    return cells if isinstance(cells, np.ndarray) and cells.ndim == 1 else list(cells)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names told apart: the second ``a`` is ``a (2)``."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out
