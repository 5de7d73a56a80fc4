"""Runner: a task over any number of inputs into one table, streaming, resumable, with errors as rows."""

import os
import re
import time
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from unimodal.inference.journal import Journal
from unimodal.inference.pipeline import Result, predictions, why
from unimodal.inference.sources import Input, Sources, find
from unimodal.inference.table import write_table
from unimodal.inference.whole import reads_whole
from unimodal.kernels.dispatch import Wish
from unimodal.prepack import choose
from unimodal.weights_file import weights_digest

__all__ = ["RESERVED", "Progress", "Summary", "predictions", "run"]

#: Columns of the runner's own, which a task's ``to_json`` must leave alone.
RESERVED = ("source", "status", "error", "artefacts")
_TODO = -1
_FIRST = {"source": pa.string(), "status": pa.string(), "error": pa.string()}
_LAST = {"artefacts": pa.list_(pa.string())}


@dataclass(frozen=True)
class Progress:
    """What a run tells while it goes on.

    Args:
        done: Rows so far, those of an earlier run included.
        total: Rows to come to.
        errors: Error rows of this run.
        rate_hz: Inputs a second in this run.
        left_s: Seconds left at this rate.
    """

    done: int
    total: int
    errors: int
    rate_hz: float
    left_s: float


@dataclass(frozen=True)
class Summary:
    """What a finished run came to.

    Args:
        table: The file with all rows.
        ok: Rows with a prediction.
        errors: Rows with an error.
        resumed: How many of the predictions an earlier run had made.
        spent_s: Seconds of this run.
        examples: The first few errors, with the names of their inputs.
        linear_maps: How the model's linear maps were computed, and why.
    """

    table: Path
    ok: int
    errors: int
    resumed: int
    spent_s: float
    examples: tuple[str, ...] = ()
    linear_maps: str = ""


def run(
    task: Any,
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    column: str | None = None,
    recursive: bool = False,
    batch_tokens: int | None = None,
    workers: int = 2,
    linear_maps: Wish = "auto",
    restart: bool = False,
    artefacts: bool = True,
    report: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda words: None,
) -> Summary:
    """Predict every input of ``sources`` into ``out/predictions.parquet``: one row each, in the order of the inputs.

    Columns: ``source``, ``status`` (ok or error), ``error`` (the reason, or null), the keys of the task's ``to_json``
    (null in error rows) and ``artefacts`` (files below ``out``). Each row is in ``out/journal.jsonl`` as soon as it is
    produced, behind its artefacts. A run into the same folder goes on: predictions of files that have not changed are
    kept, errors are tried again, inputs that are no longer named are left out of the table. An interrupt leaves a
    table of what was done. In memory there are a window of inputs and about 200 bytes for each input that is done.

    Args:
        column: The column with the inputs when a source is a CSV or Parquet table; None means ``image``, or for tasks
            that read tables themselves the whole table as one input.
        recursive: Whether sub-folders are entered.
        batch_tokens: See :func:`unimodal.inference.pipeline.predictions`, as for ``workers`` and ``linear_maps``.
        restart: Forget what is in ``out`` from an earlier run.
        artefacts: Whether predictions are saved as files too, in their field's own format.
        report: Called after every row.
        note: Called with what a user should know, a sentence at a time.

    Raises:
        InputError: there is nothing to read.
        RuntimeError: ``linear_maps="require"`` and there is nothing to pack.
        UnknownNameError: a table has no such column.
        ValueError: ``out`` is one of the sources, holds a run of another task or other weights, or has a table
            without its journal.
        OSError: ``out`` cannot be written.
    """
    out, started = Path(out), time.monotonic()
    named = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    if any(os.path.isdir(source) and os.path.realpath(source) == os.path.realpath(out) for source in named):
        raise ValueError(f"{out} is one of the sources and cannot be the output folder too")
    inputs = find(named, column=column, recursive=recursive, skip=out, whole=partial(reads_whole, task))
    for words in inputs.notes:
        note(words)
    settings = {"batch_tokens": batch_tokens, "workers": workers, "linear_maps": linear_maps}
    chosen = choose(task.module, implementation=linear_maps)
    table, journal = out / "predictions.parquet", _opened(task, out, artefacts, restart)
    places, counts, finished = array("q"), {"ok": 0, "error": 0, "resumed": 0}, False
    examples: list[str] = []
    try:
        with closing(_remaining(task, inputs, journal, places, counts, settings)) as results:
            for result, item, key in results:
                error, places[result.index] = _record(result, item, key, journal, out if artefacts else None)
                counts["error" if error else "ok"] += 1
                if error and len(examples) < 3:
                    examples.append(f"{item.name}: {error}")
                report(_progress(counts, inputs.total, time.monotonic() - started))
        finished = True
    finally:
        kept = [place for place in places if place != _TODO]
        kept += [] if finished else sorted(set(journal.places()) - set(kept))
        write_table(table, lambda: journal.rows(kept), first=_FIRST, last=_LAST)
        journal.close()
        if not finished:
            note(f"{len(kept)} of {inputs.total} rows are in {table}; run the same command again to go on")
    ok, spent_s = counts["ok"] + counts["resumed"], time.monotonic() - started
    how = f"{chosen.implementation}: {chosen.reason}"
    return Summary(table, ok, counts["error"], counts["resumed"], spent_s, tuple(examples), how)


def _opened(task: Any, out: Path, artefacts: bool, restart: bool) -> Journal:
    path, table = out / "journal.jsonl", out / "predictions.parquet"
    if table.exists() and not path.exists() and not restart:
        raise ValueError(f"{table} is there without its journal; give another folder, or --restart to replace it")
    out.mkdir(parents=True, exist_ok=True)
    about = {"task": task.name, "weights": weights_digest(task.module.state_dict()), "artefacts": artefacts}
    journal = Journal(path, about, restart=restart)
    if restart:
        for row in journal.rows(journal.places()):
            for file in row.get("artefacts") or ():
                (out / file).unlink(missing_ok=True)
        table.unlink(missing_ok=True)
        journal.forget()
    return journal


def _remaining(
    task: Any,
    inputs: Sources,
    journal: Journal,
    places: "array[int]",
    counts: dict[str, int],
    settings: dict[str, Any],
) -> Generator[tuple[Result, Input, str]]:
    """Results of the inputs without a prediction; ``places`` grows by one for each input, done or not."""
    waiting: deque[tuple[int, Input, str]] = deque()

    def todo() -> Iterator[Input]:
        for item in inputs:
            key = _key(item)
            place = journal.find(key)
            places.append(_TODO if place is None else place)
            if place is None:
                waiting.append((len(places) - 1, item, key))
                yield item
            else:
                counts["resumed"] += 1

    for result in predictions(task, todo(), **settings):
        index, item, key = waiting.popleft()
        yield replace(result, index=index), item, key


def _record(result: Result, item: Input, key: str, journal: Journal, out: Path | None) -> tuple[str, int]:
    """Write the row of ``result`` behind its artefacts: its error (empty: none), and where the row lies."""
    error, line = result.error, b""
    stem = journal.stem(_stem(item), key)
    if error is None:
        try:
            row = {"source": item.name, "status": "ok", "error": None, **_columns(result.prediction)}
            line = journal.line(key, stem, {**row, "artefacts": _artefacts(result.prediction, out, stem)})
        except Exception as raised:  # a plugin's own code
            error = raised
    reason = "" if error is None else why(error) or type(error).__name__
    if reason:
        line = journal.line(key, stem, {"source": item.name, "status": "error", "error": reason})
    return reason, journal.append(key, line, failed=bool(reason))


def _columns(prediction: Any) -> dict[str, Any]:
    columns = prediction.to_json()
    taken = [name for name in RESERVED if name in columns]
    if taken:
        raise ValueError(f"to_json() has the keys {', '.join(taken)}, which are columns of the runner's own")
    return columns


def _artefacts(prediction: Any, out: Path | None, stem: str) -> list[str]:
    if out is None:
        return []
    folder = out / "artefacts"
    if not os.path.isdir(folder):
        folder.mkdir()
    return [Path(file).relative_to(out).as_posix() for file in prediction.save(folder, stem)]


def _progress(counts: dict[str, int], total: int, spent_s: float) -> Progress:
    done, fresh = sum(counts.values()), counts["ok"] + counts["error"]
    rate = fresh / max(spent_s, 1e-9)
    return Progress(done, total, counts["error"], rate, (total - done) / rate)


def _key(item: Input) -> str:
    """What a row is found by: where its input lies, and a stamp of its content."""
    stamp = item.stamp
    if not stamp:
        try:
            stat = os.stat(item.value)
            stamp = f"{stat.st_size} {stat.st_mtime_ns}"
        except (OSError, ValueError, TypeError):
            stamp = "absent"
    return f"{os.path.abspath(item.name)} ({stamp})"


def _stem(item: Input) -> str:
    return re.sub(r"[^\w.-]+", "_", item.stem or os.path.splitext(os.path.basename(item.name))[0])[:100] or "input"
