"""evaluate: a task's metrics on a labelled data set."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from unimodal.cli.settings import BatchTokens, Device, Weights, Workers, ready_task

__all__ = ["evaluate"]


def evaluate(
    task: Annotated[str, typer.Argument(help="See 'unimodal list tasks'.", show_default=False)],
    data: Annotated[Path, typer.Argument(help="A labelled data set, laid out as the task says.", show_default=False)],
    weights: Weights = None,
    out: Annotated[Path | None, typer.Option(help="Folder that gets evaluation.json.", show_default=False)] = None,
    batch_tokens: BatchTokens = None,
    device: Device = "auto",
    workers: Workers = 2,
) -> int:
    """Measure a task. Samples that cannot be read or predicted are counted and named beside the figures."""
    from unimodal.cli.progress import progress
    from unimodal.inference.evaluation import evaluate as measure

    ready = ready_task(task, weights, device)
    with progress("samples") as tell:
        found = measure(ready, data, batch_tokens=batch_tokens, workers=workers, report=tell)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"data": str(data), "weights": str(weights or ""), **found.to_json()}, indent=1)
        (out / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    _show(task, found.metrics, found.samples, len(found.errors))
    for name, words in found.errors[:3]:
        typer.echo(f"  {name}: {words}", err=True)
    return 0 if not found.errors else 1 if found.samples > len(found.errors) else 3


def _show(task: str, metrics: dict[str, float], samples: int, errors: int) -> None:
    from rich.console import Console
    from rich.table import Table

    typer.echo(f"{task}: {samples - errors} samples measured, {errors} errors left out")
    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, "-" if math.isnan(value) else f"{value:.4f}")
    Console().print(table)
    if any(math.isnan(value) for value in metrics.values()):
        typer.echo("(-: there was no sample that it could be measured on)")
