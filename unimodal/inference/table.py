"""Table: rows of plain data as one Parquet file, written beside its place and moved there in one step."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unimodal.weights_file import replace_file

__all__ = ["write_table"]

_CHUNK = 2000


def write_table(
    path: Path,
    rows: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    first: Mapping[str, pa.DataType],
    last: Mapping[str, pa.DataType],
) -> int:
    """Write ``rows()`` to ``path``; returns how many there are. A few thousand rows are held at a time.

    The columns' types are found in a first pass, so ``rows`` is called twice. A column whose values are of no common
    type is written as JSON text.

    Args:
        first: Columns that are there in any case, in front, with their types.
        last: The same, behind the others.
    """
    found: dict[str, pa.DataType] = {}
    for chunk in _chunks(rows()):
        for name in dict.fromkeys(name for row in chunk for name in row):
            if name not in first and name not in last:
                found[name] = _common(found.get(name), [row.get(name) for row in chunk])
    types = {**first, **found, **last}
    schema = pa.schema([(name, kind) for name, kind in types.items() if not pa.types.is_null(kind)])
    aside, count = path.with_name(f".{path.name}.{os.getpid()}"), 0
    try:
        with pq.ParquetWriter(aside, schema) as writer:
            for chunk in _chunks(rows()):
                columns = [_column([row.get(name) for row in chunk], schema.field(name).type) for name in schema.names]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                count += len(chunk)
        replace_file(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _chunks(rows: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    stream = iter(rows)
    while chunk := list(islice(stream, _CHUNK)):
        yield chunk


def _common(known: pa.DataType | None, values: Sequence[Any]) -> pa.DataType:
    if known is not None and known == _JSON:
        return known
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (known, pa.array(values).type) if kind is not None]
        return pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _JSON


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == _JSON:
        return pa.array([None if v is None else json.dumps(v) for v in values], kind)
    return pa.array(values, kind)


_JSON = pa.large_string()  # no other column has this type
