"""embed: files of any modality to tokens and an embedding each, through one core."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unimodal.cli.settings import BatchTokens, Column, Device, Recursive, Workers, torch_device

__all__ = ["embed"]

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
    stopped. Without it they are shown here.
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
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from unimodal.inference.pipeline import predictions, why
    from unimodal.inference.sources import find

    inputs = find(sources, column=column, recursive=recursive, whole=ready.takes_whole)
    table = Table("input", "modality", "tokens", "lattice", "embedding")
    ok, errors = 0, []
    for result in predictions(ready, inputs, **settings):
        if result.error is not None:
            errors.append(f"{result.name}: {why(result.error)}")
            continue
        found, ok = result.prediction, ok + 1
        count, width = found.tokens.shape
        first = " ".join(f"{v:+.2f}" for v in found.vector[:2].tolist())
        lattice = " x ".join(map(str, found.lattice))
        cells = (found.modality, f"{count} x {width}", lattice, f"{len(found.vector)}: {first} ...")
        table.add_row(escape(Path(result.name).name), *cells)
    if ok:
        Console().print(table)
    for words in errors:
        typer.echo(f"error: {words}", err=True)
    return 0 if not errors else 1 if ok else 3
