"""Journal: one JSON line a row, appended as it is produced, so that what was done survives any kind of end.

A line that was cut off is dropped when the journal is opened again. Rows are found by key; a later line of the same
key replaces an earlier one.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Journal"]

_FORMAT = "unimodal journal 1"
_FLUSH_S = 3.0


class Journal:
    """Rows on disk, and in memory only where each one lies.

    Args:
        path: The file; it is made, or opened and gone on with.
        about: What the rows come from (task, weights): a journal that says otherwise is not gone on with.
        restart: Open it all the same, to :meth:`forget`.

    Raises:
        ValueError: ``path`` holds the rows of something else, or another process is writing it.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, restart: bool = False) -> None:
        self.path, self.about, self.restart = path, {"format": _FORMAT, **about}, restart
        self._file = path.open("a+b", buffering=0)
        _lock(self._file, path)
        self._at: dict[int, int] = {}
        self._failed: set[int] = set()
        self._names: dict[int, int] = {}
        self._flushed = time.monotonic()
        self._end = self._recover()

    def find(self, key: str) -> int | None:
        """Where the row of ``key`` lies, or None if there is none or its status is error."""
        own = _digest(key)
        return None if own in self._failed else self._at.get(own)

    def stem(self, wanted: str, key: str) -> str:
        """A name for files of ``key`` that no other key has: ``wanted``, or with a digest behind it."""
        own = _digest(key)
        for name in (wanted, f"{wanted}-{own:016x}"):
            if self._names.setdefault(_digest(name), own) == own:
                return name
        raise ValueError(f"no free name for {key}")  # two keys of one 64-bit digest

    @staticmethod
    def line(key: str, stem: str, row: Mapping[str, Any]) -> bytes:
        """The line that :meth:`append` takes.

        Raises:
            TypeError, ValueError: the row is no plain data.
        """
        return json.dumps({"key": key, "stem": stem, "row": row}).encode() + b"\n"

    def append(self, key: str, line: bytes, *, failed: bool) -> int:
        """Write a row's line; returns where it lies.

        Raises:
            OSError: the disk is full, for instance.
        """
        at = self._end
        if self._file.write(line) != len(line):
            raise OSError(f"{self.path}: a row was written in part only; is the disk full?")
        self._end += len(line)
        self._note(key, at, failed)
        if time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()
        return at

    def flush(self) -> None:
        """Force what was written onto the disk."""
        os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def places(self) -> list[int]:
        """Where all rows lie, oldest first."""
        return sorted(self._at.values())

    def rows(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The rows at ``places``."""
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                yield json.loads(file.readline())["row"]

    def forget(self) -> None:
        """Start again without rows."""
        self._file.truncate(0)
        self._at.clear()
        self._failed.clear()
        self._names.clear()
        self._end = self._write_header()

    def close(self) -> None:
        """Flush and let others write."""
        self.flush()
        self._file.close()

    def _recover(self) -> int:
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):  # cut off by the end of a process
                    break
                entry = _entry(line)
                if not end and not self.restart:
                    self._require_same(entry or {})
                if end and entry is not None and {"key", "stem", "row"} <= set(entry):
                    self._note(entry["key"], end, entry["row"].get("status") == "error")
                    self._names[_digest(entry["stem"])] = _digest(entry["key"])
                end += len(line)
        self._file.truncate(end)
        return end or self._write_header()

    def _note(self, key: str, at: int, failed: bool) -> None:
        own = _digest(key)
        self._at[own] = at
        (self._failed.add if failed else self._failed.discard)(own)

    def _require_same(self, found: Mapping[str, Any]) -> None:
        other = [name for name, value in self.about.items() if found.get(name) != value]
        if other:
            told = ", ".join(
                f"{name} {_short(found.get(name))} instead of {_short(self.about[name])}" for name in other
            )
            self._file.close()
            raise ValueError(f"{self.path} holds another run ({told}); give another folder, or --restart to replace it")

    def _write_header(self) -> int:
        line = json.dumps(self.about).encode() + b"\n"
        self._file.write(line)
        return len(line)


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line holds, or None for one that is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).digest(), "big")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 24 else f"{text[:20]}..."


def _lock(file: Any, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ValueError(f"{path} is being written by another process") from error
