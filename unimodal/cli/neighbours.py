"""neighbours: which of the inputs that ``unimodal embed`` has read are most alike."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unimodal.errors import InputError, UnknownNameError

__all__ = ["neighbours"]

TABLE = "predictions.parquet"


def neighbours(
    run: Annotated[Path, typer.Argument(help="Folder that 'unimodal embed ... --out' wrote.", show_default=False)],
    of: Annotated[
        list[str] | None, typer.Option(help="Only of this input of the run; may be repeated.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Neighbours of each input.")] = 5,
    across: Annotated[
        bool, typer.Option("--across", help="Compare inputs of all modalities with one another.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each input.")] = False,
) -> int:
    """The nearest neighbours of embedded inputs: the largest cosines, after the mean of all embeddings is taken off.

    An input has neighbours of its own modality, or of any with --across. Nothing is embedded here: unimodal embed
    SOURCES --out RUN comes first, and may be stopped and gone on with.
    """
    import torch

    from unimodal.neighbours import neighbours as nearest

    names, kinds, vectors, errors = _embedded(run)
    asked = [_place(word, names, run) for word in dict.fromkeys(of or [])] if of else list(range(len(names)))
    found = nearest(torch.from_numpy(vectors), kinds=None if across else kinds, of=asked, count=count)
    if errors:
        typer.echo(f"note: {errors} of the run's inputs have an error and no embedding", err=True)
    alone = [names[place] for place, near in zip(asked, found, strict=True) if not near]
    if len(alone) == len(asked):
        what = "the only input" if across or len(names) == 1 else "the only input of its modality"
        raise InputError(alone[0], f"is {what} in {run}, so it has no neighbours", "embed more, or try --across")
    rows = [
        {
            "source": names[place],
            "modality": kinds[place],
            "neighbours": [
                {"source": names[j], "modality": kinds[j], "similarity": round(alike, 4)} for j, alike in near
            ],
        }
        for place, near in zip(asked, found, strict=True)
    ]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
    else:
        _show([row for row in rows if row["neighbours"]], names)
    for name in alone:
        typer.echo(f"note: {name} is the only input of its modality and has no neighbours", err=True)
    return 0


def _embedded(run: Path) -> tuple[list[str], list[str], Any, int]:
    """Names, modalities and embeddings (N, E) of the inputs without an error, and how many have one."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    remedy = f"make it with: unimodal embed SOURCES --out {run}"
    if not run.exists():
        raise InputError(run, "does not exist", remedy)
    file = run / TABLE if run.is_dir() else run
    if not file.is_file():
        raise InputError(run, f"has no {TABLE}", remedy)
    try:
        schema = pq.read_schema(file)
        wanted = ["source", "status", "modality", "embedding"]
        if missing := [name for name in wanted if name not in schema.names]:
            raise InputError(file, f"has no column {missing[0]!r}, so it holds no embeddings", remedy)
        table = pq.read_table(file, columns=wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(file, "is not a Parquet table that can be read", remedy) from error
    good = [i for i, status in enumerate(table["status"].to_pylist()) if status == "ok"]
    if not good:
        raise InputError(file, "has no row with an embedding", "every input of the run has an error")
    kept = table.take(good)
    column = kept["embedding"].combine_chunks()
    lengths = set(column.value_lengths().to_pylist())
    if len(lengths) != 1 or None in lengths:
        raise InputError(file, "has embeddings of several widths", "of one run they have one width")
    vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(good), -1)
    return kept["source"].to_pylist(), kept["modality"].to_pylist(), vectors, len(table) - len(good)


def _place(word: str, names: list[str], run: Path) -> int:
    """Where the input lies that was asked for: its name as the run has it, the same path, or the end of one path."""
    if word in names:
        return names.index(word)
    path = Path(word)
    for fits in (lambda name: Path(name).absolute() == path.absolute(), lambda name: _ends(Path(name), path)):
        found = [place for place, name in enumerate(names) if fits(name)]
        if len(found) > 1:
            raise InputError(word, f"is not the only one of that name in {run}", f"say which: {names[found[0]]} ...")
        if found:
            return found[0]
    short = [Path(name).name for name in names]
    raise UnknownNameError("embedded input", word, short if path.name == word else names)


def _ends(path: Path, end: Path) -> bool:
    return path.parts[-len(end.parts) :] == end.parts


def _show(rows: list[dict[str, Any]], names: list[str]) -> None:
    """A block of lines an input: itself at the left, its neighbours at the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from unimodal.cli.embed import told_apart

    short = dict(zip(names, told_apart(names), strict=True))
    mixed = (
        len({near["modality"] for row in rows for near in row["neighbours"]} | {row["modality"] for row in rows}) > 1
    )
    heads = [Column("input", overflow="fold"), Column("neighbour", overflow="fold")]
    table = Table(*heads, *([Column("modality", no_wrap=True)] if mixed else []), Column("cosine", justify="right"))
    for row in rows:
        for rank, near in enumerate(row["neighbours"]):
            words = [escape(short[row["source"]]) if rank == 0 else "", escape(short[near["source"]])]
            words += [near["modality"]] if mixed else []
            last = rank == len(row["neighbours"]) - 1
            table.add_row(*words, f"{near['similarity']:+.3f}", end_section=last)
    Console().print(table)
