"""Series columns: what a source of series holds, as named columns of numbers, moments or words, before any is judged.

Delimited text (also gzipped, separated by blanks, or behind comment lines), Parquet, NumPy files, arrays, tables,
mappings.
"""

import gzip
import io
import re
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unimodal.errors import InputError
from unimodal.reading.delimited import read_delimited
from unimodal.reading.opening import open_stream, source_name, told

__all__ = ["NamedColumns", "named_columns"]

WHAT = "a series"
_LIMIT = 1 << 30  # bytes of text after decompression


@dataclass(frozen=True, eq=False)
class NamedColumns:
    """Columns of one length.

    Args:
        columns: By name; float64 or datetime64 arrays, or lists of words.
        decimal_comma: Whether words write numbers with a comma.
        headed: Whether the names come from the source.
        left_out: What the source has besides, for the record.
    """

    columns: dict[str, np.ndarray | list[str]]
    decimal_comma: bool = False
    headed: bool = True
    left_out: tuple[str, ...] = field(default=())


def named_columns(source: Any) -> NamedColumns:
    """The columns of any source.

    Args:
        source: A path, encoded bytes or binary file of CSV, TSV, Parquet, NPY or NPZ; an array or tensor (L,) or
            (L, C); a mapping from names to sequences; a table of pyarrow or pandas.

    Raises:
        InputError: it cannot be opened, is none of these, is damaged or ragged.
    """
    name = source_name(source)
    if isinstance(source, Mapping):
        return _of_mapping(source, name)
    if isinstance(source, pa.Table):
        return _of_table(source, name)
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):  # a data frame
        columns = {str(column): source[column].to_numpy() for column in source.columns}
        index = source.index.to_numpy()
        return _of_mapping({"time": index, **columns} if index.dtype.kind == "M" else columns, name)
    if isinstance(source, list | tuple) or (hasattr(source, "shape") and hasattr(source, "dtype")):
        return _of_array(source, name)
    with ExitStack() as files:
        stream = open_stream(source, files, what=WHAT, also="an array, a mapping")
        head = stream.read(6)
        stream.seek(0)
        if head.startswith(b"PAR1"):
            return _of_parquet(stream, name)
        if head == b"\x93NUMPY" or head.startswith(b"PK\x03\x04"):
            return _of_numpy(stream, name)
        content = stream.read()
    if head.startswith(b"\x1f\x8b"):
        content = _unzipped(content, name)
    return _of_text(content, name)


def _of_text(content: bytes, name: str) -> NamedColumns:
    try:
        found = read_delimited(_uncommented(content), what=WHAT)
    except InputError as error:
        raise InputError(name, error.cause, error.remedy) from error
    names, words, headed = found.names, found.words, found.headed
    if len(words) == 1 and re.search(r"\S[ \t]+\S", words[0][0]):
        names, words, headed = _at_blanks(names, words[0], headed)
    first = [column[0] for column in words]
    if not headed and len(first) > 1 and first == ["", *map(str, range(len(first) - 1))] and len(words[0]) > 1:
        words, headed = tuple(column[1:] for column in words), True  # a data frame whose columns had no names
        names = ("", *first[1:])
    return NamedColumns(dict(zip(names, words, strict=True)), found.decimal_comma, headed)


def _at_blanks(
    names: tuple[str, ...], lines: list[str], headed: bool
) -> tuple[tuple[str, ...], tuple[list[str], ...], bool]:
    """One column of lines as the columns that blanks separate, if every line has the same number of them."""
    rows = [line.split() for line in ([*names, *lines] if headed else lines)]
    if len({len(row) for row in rows[headed:]}) > 1:
        return names, (lines,), headed
    if headed and (len(rows[0]) != len(rows[1]) or not any(re.search("[a-zA-Z]", word) for word in rows[0])):
        rows, headed = rows[len(rows[0]) != len(rows[1]) :], False  # a title, or a row of numbers
    found = tuple(rows.pop(0)) if headed else tuple(f"column {i + 1}" for i in range(len(rows[0])))
    return found, tuple(list(column) for column in zip(*rows, strict=True)), headed


def _uncommented(content: bytes) -> bytes:
    """Without the lines in front that begin with # or %, but with the last of them if it names the columns."""
    if content[:1] not in (b"#", b"%"):
        return content
    lines = content.split(b"\n")
    count = next((i for i, line in enumerate(lines) if line.strip() and line[:1] not in (b"#", b"%")), len(lines))
    if count == len(lines):
        return content
    last, below = lines[count - 1].lstrip(b"#% ").strip(), lines[count].strip()
    sign = next((sign for sign in (b",", b";", b"\t") if sign in below), None)
    named = len(last.split(sign)) == len(below.split(sign)) and not re.search(rb"[a-zA-Z]{2}", below)
    return b"\n".join([*([last] if named else []), *lines[count:]])


def _of_parquet(stream: Any, name: str) -> NamedColumns:
    try:
        return _of_table(pq.read_table(stream), name)
    except InputError:
        raise
    except Exception as error:  # what a damaged file makes the reader raise is not limited
        raise InputError(name, f"is a damaged Parquet file ({told(error)})") from error


def _of_table(table: pa.Table, name: str) -> NamedColumns:
    columns: dict[str, np.ndarray | list[str]] = {}
    left_out = []
    for key, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            moments = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)
            columns[key] = np.asarray(moments.cast(pa.int64()).to_numpy()).astype("datetime64[us]")
            if column.null_count:
                columns[key] = np.where(column.is_null().to_numpy(), np.datetime64("NaT"), columns[key])
        elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            columns[key] = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
        elif pa.types.is_decimal(kind):
            columns[key] = np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            columns[key] = ["" if word is None else word.strip() for word in column.to_pylist()]
        else:
            left_out.append(f"{key} (of type {kind})")
    if not columns:
        raise InputError(name, "has no column of numbers")
    return NamedColumns(columns, left_out=tuple(left_out))


def _of_numpy(stream: Any, name: str) -> NamedColumns:
    try:
        if zipfile.is_zipfile(stream):
            stream.seek(0)
            with zipfile.ZipFile(stream) as packed:
                if any(member.startswith("xl/") for member in packed.namelist()):
                    raise InputError(name, "is a spreadsheet's own file", "save the sheet as CSV")
        stream.seek(0)
        found = np.load(stream, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return _of_array(found, name)
        arrays = {key: found[key] for key in found.files}
    except InputError:
        raise
    except Exception as error:
        raise InputError(name, f"is a damaged NumPy file ({told(error)})") from error
    if len(arrays) == 1:
        return _of_array(next(iter(arrays.values())), name)
    if arrays and all(array.ndim == 1 for array in arrays.values()):
        return _of_mapping(arrays, name)
    shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
    raise InputError(name, f"holds {shapes}", "a series is one array (steps, channels) or columns of one length")


def _of_array(source: Any, name: str) -> NamedColumns:
    try:
        array = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    except Exception as error:
        raise InputError(name, f"is no array ({told(error)})") from error
    if array.dtype.names:
        return _of_mapping({key: array[key] for key in array.dtype.names}, name)
    if array.dtype.kind not in "biuf":
        raise InputError(name, f"is an array of {array.dtype}", "give numbers")
    if array.ndim not in (1, 2) or not array.size:
        raise InputError(name, f"has the shape {array.shape}", "a series is (steps,) or (steps, channels)")
    columns = array.reshape(len(array), -1).astype(np.float64)
    return NamedColumns({f"column {i + 1}": columns[:, i] for i in range(columns.shape[1])}, headed=False)


def _of_mapping(source: Mapping[Any, Any], name: str) -> NamedColumns:
    columns: dict[str, np.ndarray | list[str]] = {}
    for key, values in source.items():
        try:
            array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
        except Exception as error:
            raise InputError(name, f"{key!r} is no sequence ({told(error)})") from error
        if array.ndim != 1 or not array.size:
            raise InputError(name, f"{key!r} has the shape {array.shape}", "give one sequence a column")
        kind = array.dtype.kind
        if (kind == "O" and all(value is None or isinstance(value, int | float) for value in array)) or kind in "biuf":
            columns[str(key)] = array.astype(np.float64)
        elif kind == "M":
            columns[str(key)] = array.astype("datetime64[us]")
        else:
            columns[str(key)] = ["" if word is None else str(word).strip() for word in array]
    if not columns:
        raise InputError(name, "has no columns")
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        cause = f"its columns have different lengths: {', '.join(f'{k} {n}' for k, n in lengths.items())}"
        raise InputError(name, cause)
    return NamedColumns(columns)


def _unzipped(content: bytes, name: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            text = packed.read(_LIMIT + 1)
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        raise InputError(name, f"is a damaged gzip file ({told(error)})") from error
    except Exception as error:
        raise InputError(name, f"is a damaged gzip file ({told(error)})") from error
    if len(text) > _LIMIT:
        raise InputError(name, "has more than 1 GiB of text", "give a part of it")
    return text
