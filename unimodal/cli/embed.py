"""embed: files of any modality to tokens and an embedding each, through one core."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unimodal.cli.settings import BatchTokens, Column, Device, Recursive, Workers, torch_device

__all__ = ["embed", "told_apart"]

MODEL = "unimodal:small_multimodal_encoder"


def embed(
    sources: Annotated[list[str], typer.Argument(help="Files and folders of any modality, globs.", show_default=False)],
    model: Annotated[str, typer.Option(help="What unimodal.load takes: embedded, published or your own.")] = MODEL,
    tower: Annotated[str | None, typer.Option(help="Of a published pair: image or text.", show_default=False)] = None,
    modality: Annotated[
        str | None, typer.Option(help="Read every file as this one; by default each file is looked at.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for predictions.parquet and the tokens.", show_default=False)
    ] = None,
    column: Column = None,
    recursive: Recursive = False,
    batch_tokens: BatchTokens = None,
    device: Device = "auto",
    workers: Workers = 2,
    save_tokens: Annotated[bool, typer.Option(help="Save each input's tokens too, in OUT/artefacts.")] = True,
) -> int:
    """Tokens and one vector for every input: picture, sound, clip, point cloud, series, volume, text, table ...

    With --out the results are rows of OUT/predictions.parquet, errors included, and a stopped run goes on where it
    stopped. Without it a line an input is shown here.
    """
    from unimodal.embedding import Embedder
    from unimodal.pretrained import load

    ready = Embedder(load(model, tower=tower).to(torch_device(device)), modality)
    settings: dict[str, Any] = {"batch_tokens": batch_tokens, "workers": workers}
    if out is None:
        return _show(ready, sources, column, recursive, settings)
    from unimodal.cli.progress import progress
    from unimodal.inference.runner import Progress, run

    with progress("inputs") as tell:

        def report(now: Progress) -> None:
            tell(now.done, now.total, now.rate_hz, now.left_s, f"{now.errors} errors" if now.errors else "")

        done = run(
            ready,
            sources,
            out,
            column=column,
            recursive=recursive,
            artefacts=save_tokens,
            report=report,
            note=lambda words: typer.echo(f"note: {words}", err=True),
            **settings,
        )
    typer.echo(f"{done.ok} embeddings, {done.errors} errors in {done.spent_s:.1f} s: {done.table}")
    for words in done.examples:
        typer.echo(f"  {words}", err=True)
    return 0 if not done.errors else 1 if done.ok else 3


def _show(ready: Any, sources: list[str], column: str | None, recursive: bool, settings: dict[str, Any]) -> int:
    from unimodal.inference.pipeline import predictions, why
    from unimodal.inference.sources import find

    inputs = find(sources, column=column, recursive=recursive, whole=ready.takes_whole)
    found, errors = [], []
    for result in predictions(ready, inputs, **settings):
        if result.error is not None:
            errors.append(f"{result.name}: {why(result.error)}")
        else:
            found.append((result.name, result.prediction))
    if found:
        _table(found)
    for words in errors:
        typer.echo(f"error: {words}", err=True)
    return 0 if not errors else 1 if found else 3


def _table(found: list[tuple[str, Any]]) -> None:
    """A line an input, and what was assumed or left out below it, each thing once."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column as Heading
    from rich.table import Table

    names, notes = told_apart([name for name, _ in found]), {}
    fixed = [Heading(word, no_wrap=True) for word in ("modality", "tokens", "lattice", "embedding")]
    table = Table(Heading("input", overflow="fold"), *fixed)
    for name, (_, one) in zip(names, found, strict=True):
        count, width = one.tokens.shape
        first = " ".join(f"{v:+.2f}" for v in one.vector[:2].tolist())
        table.add_row(
            escape(name), one.modality, f"{count} x {width}", " x ".join(map(str, one.lattice)), f"{first} ..."
        )
        for note in one.notes:
            notes.setdefault(note, []).append(name)
    Console().print(table)
    for note, of in notes.items():
        more = f" and {len(of) - 3} more" if len(of) > 3 else ""
        typer.echo(f"note: {note} ({', '.join(of[:3])}{more})")
    typer.echo(f"An embedding has {len(found[0][1].vector)} numbers; --out FOLDER keeps them all, and the tokens.")


def told_apart(names: list[str]) -> list[str]:
    """Paths without the folders that all of them share."""
    parts = [Path(name).parts for name in names]
    shared = 0
    while all(len(one) > shared + 1 for one in parts) and len({one[shared] for one in parts}) == 1:
        shared += 1
    return [str(Path(*one[shared:])) for one in parts]
