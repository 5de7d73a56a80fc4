"""predict: a task over files, folders, globs or a table's column, into one Parquet file."""

from pathlib import Path
from typing import Annotated

import typer

from unimodal.cli.settings import BatchTokens, Column, Device, Recursive, Weights, Workers, ready_task
from unimodal.kernels.dispatch import Wish

__all__ = ["predict"]


def predict(
    task: Annotated[str, typer.Argument(help="See 'unimodal list tasks'.", show_default=False)],
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, CSV or Parquet tables.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results.", show_default=False)],
    weights: Weights = None,
    column: Column = None,
    recursive: Recursive = False,
    batch_tokens: BatchTokens = None,
    device: Device = "auto",
    workers: Workers = 2,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Go on with what is in OUT, or forget it first.")
    ] = True,
    linear_maps: Annotated[
        Wish, typer.Option(help="Pack linear maps for this processor: where that gains, never, or not without.")
    ] = "auto",
    save_artefacts: Annotated[bool, typer.Option(help="Save masks, boxes ... as files in OUT/artefacts.")] = True,
) -> int:
    """Predict every source, one row each, into OUT/predictions.parquet.

    Inputs that cannot be read become rows with status "error" and the reason; the others are not touched by them.
    Rows are on disk (OUT/journal.jsonl) as soon as they are made: after Ctrl-C, a crash or a power cut the same
    command goes on where it stopped, and tries errors again.
    """
    from unimodal.cli.progress import progress
    from unimodal.inference.runner import Progress, run
    from unimodal.prepack import choose

    ready = ready_task(task, weights, device)
    if linear_maps == "require" and (choice := choose(ready.module)).implementation == "reference":
        raise typer.BadParameter(f"nothing can be packed: {choice.reason}", param_hint="--linear-maps")
    with progress("inputs") as tell:

        def report(now: Progress) -> None:
            tell(now.done, now.total, now.rate_hz, now.left_s, f"{now.errors} errors" if now.errors else "")

        done = run(
            ready,
            sources,
            out,
            column=column,
            recursive=recursive,
            batch_tokens=batch_tokens,
            workers=workers,
            linear_maps=linear_maps,
            restart=not resume,
            artefacts=save_artefacts,
            report=report,
            note=lambda words: typer.echo(f"note: {words}", err=True),
        )
    kept = f" ({done.resumed} of them from before)" if done.resumed else ""
    typer.echo(f"{done.ok} predictions{kept}, {done.errors} errors in {done.spent_s:.1f} s: {done.table}")
    for words in done.examples:
        typer.echo(f"  {words}", err=True)
    if done.errors > len(done.examples):
        typer.echo(f"  and {done.errors - len(done.examples)} more: rows with status 'error'", err=True)
    return 0 if not done.errors else 1 if done.ok else 3
