"""Sources: files, folders, globs and table columns as one stream of inputs, in a stable order, never held whole."""

import csv
import glob
import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unimodal.errors import InputError, UnknownNameError

__all__ = ["Input", "Sources", "find"]

TABLES = (".csv", ".parquet")
_MEDIA = ("image", "video", "audio")


@dataclass(frozen=True)
class Input:
    """One thing to read.

    Args:
        name: As a user would name it: its path, or its table and row (counted from 0).
        value: What a task's ``read`` takes.
        stem: The beginning of its artefacts' names; empty means the name's stem.
        stamp: Changes when the content does (of a table: the table's); empty means the file's own.
    """

    name: str
    value: Any
    stem: str = ""
    stamp: str = ""


@dataclass(frozen=True)
class Sources:
    """A stream that can be gone through more than once.

    Args:
        total: How many inputs there are.
        streams: Each source's inputs.
        notes: What a user should know, as sentences (folders that were not entered, for instance).
    """

    total: int
    streams: tuple[Callable[[], Iterator[Input]], ...]
    notes: tuple[str, ...] = field(default=())

    def __iter__(self) -> Iterator[Input]:
        for stream in self.streams:
            yield from stream()


def find(
    sources: str | Path | Iterable[str | Path],
    *,
    column: str | None = None,
    recursive: bool = False,
    skip: Path | None = None,
    whole: Callable[[Path], bool] = lambda path: False,
) -> Sources:
    """What ``sources`` name.

    A *file* is one input, whatever it holds: a broken one becomes an error of its row later, and so does a missing one
    among others. A *folder* gives its files by name, hidden ones left out, and the folders in it that are one input
    (a scan). A *glob* gives the files that match. A *CSV or Parquet table* gives a row each: a path (relative ones from
    the table's folder) or an encoded file.

    Args:
        column: Of tables; None means ``image``.
        recursive: Whether sub-folders are entered.
        skip: A folder that is never entered, such as the output's.
        whole: Whether a table or folder is an input itself, as it is for tasks that read tables or folders. A table
            whose ``column`` is named is a table of inputs all the same.

    Raises:
        InputError: there is nothing: no source exists, a folder or table is empty, a glob matches nothing.
        UnknownNameError: a table has no such column.
    """
    names = [os.fspath(s) for s in ([sources] if isinstance(sources, str | os.PathLike) else sources)]
    if not names:
        raise InputError("no sources", "there is nothing to read", "give files, folders, globs or tables")
    if not any(os.path.lexists(name) or glob.has_magic(name) for name in names):
        raise InputError(names[0], "does not exist", _nearest_file(names[0]))
    total, streams, notes = 0, [], []
    for name in names:
        table = column is None and name.lower().endswith(TABLES) and os.path.isfile(name)
        if (table or os.path.isdir(name)) and whole(Path(name)):
            count, stream, note = 1, _single(name), []
        else:
            count, stream, note = _one(name, column, recursive, skip, whole)
        total += count
        streams.append(stream)
        notes += note
    if not total:
        raise InputError(", ".join(names), "has no files", *notes[:1])
    return Sources(total, tuple(streams), tuple(notes))


def _one(
    name: str, column: str | None, recursive: bool, skip: Path | None, whole: Callable[[Path], bool]
) -> tuple[int, Callable[[], Iterator[Input]], list[str]]:
    if os.path.isdir(name):
        return _folder(name, recursive, skip, whole)
    if name.lower().endswith(TABLES) and os.path.isfile(name):
        return _table(Path(name), column)
    if glob.has_magic(name) and not os.path.lexists(name):
        found = sorted(file for file in glob.iglob(name, recursive=True) if not os.path.isdir(file))
        if not found:
            raise InputError(name, "matches no file")
        return len(found), lambda: (Input(file, Path(file)) for file in found), []
    return 1, _single(name), []


def _single(name: str) -> Callable[[], Iterator[Input]]:
    return lambda: iter([Input(name, Path(name))])


def _folder(
    name: str, recursive: bool, skip: Path | None, whole: Callable[[Path], bool]
) -> tuple[int, Callable[[], Iterator[Input]], list[str]]:
    left_out = 0

    def refuse(error: OSError) -> None:
        raise InputError(str(error.filename), f"cannot be listed ({error.strerror})")

    def directories() -> Iterator[tuple[str, list[str], list[str]]]:
        for directory, folders, files in os.walk(name, onerror=refuse):
            folders[:] = sorted(f for f in folders if not f.startswith(".") and not _same(directory, f, skip))
            media = [f for f in folders if str(mimetypes.guess_type(f)[0]).startswith(_MEDIA)]  # named like a file
            own = [f for f in folders if f not in media and whole(Path(directory, f))]
            folders[:] = [f for f in folders if f not in own]
            yield directory, folders, sorted([f for f in files if not f.startswith(".")] + media + own)
            if not recursive:
                return

    def inputs() -> Iterator[Input]:
        for directory, _, files in directories():
            for file in files:
                path = os.path.join(directory, file)
                yield Input(path, Path(path))

    count = 0
    for _, folders, files in directories():
        count += len(files)
        left_out += 0 if recursive else len(set(folders) - set(files))
    note = [f"{name}: {left_out} folders in it were not entered (--recursive does)"] if left_out else []
    return count, inputs, note


def _table(path: Path, column: str | None) -> tuple[int, Callable[[], Iterator[Input]], list[str]]:
    wanted = column or "image"
    parquet = path.suffix.lower() == ".parquet"
    rows = _parquet_rows if parquet else _csv_rows
    names, count = (_parquet_shape if parquet else _csv_shape)(path)
    if wanted not in names:
        raise UnknownNameError(f"column in {path} (--column)", wanted, names)
    if not count:
        raise InputError(str(path), "has no rows")
    stamp = f"{wanted} {path.stat().st_size} {path.stat().st_mtime_ns}"
    return count, lambda: (_cell(value, path, number, stamp) for number, value in enumerate(rows(path, wanted))), []


def _csv_shape(path: Path) -> tuple[Sequence[str], int]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), sum(1 for _ in reader)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(str(path), f"is no CSV file that can be read ({error})") from error


def _csv_rows(path: Path, column: str) -> Iterator[Any]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from (row[column] for row in csv.DictReader(file))


def _parquet_shape(path: Path) -> tuple[Sequence[str], int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow.names, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"is no Parquet file that can be read ({error})") from error


def _parquet_rows(path: Path, column: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=32, columns=[column]):
                yield from batch.column(0).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"is damaged ({error})") from error


def _cell(value: Any, table: Path, number: int, stamp: str) -> Input:
    if isinstance(value, dict):  # the layout of published image tables: {"bytes": ..., "path": ...}
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str) and value:
        return Input(str(table.parent / value), table.parent / value)
    value = b"" if value is None or value == "" else value
    return Input(f"{table} row {number}", value, f"{table.stem}-row-{number}", stamp)


def _same(directory: str, folder: str, skip: Path | None) -> bool:
    return skip is not None and Path(directory, folder).resolve() == skip.resolve()


def _nearest_file(name: str) -> str:
    folder = Path(name).parent
    beside = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    near = get_close_matches(Path(name).name, beside, n=1)
    return f"did you mean {folder / near[0]}?" if near else ""
