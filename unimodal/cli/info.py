"""info: what a model is made of, and which of its weights are trained, converted or random."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unimodal.errors import CheckpointError, UnknownNameError

__all__ = ["info"]


def info(
    model: Annotated[
        str,
        typer.Argument(
            help="A task, weights of this package, a checkpoint folder, or what unimodal.load() takes (timm:NAME ...).",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print plain JSON.")] = False,
) -> int:
    """Show a model's parts, parameters, the origin of its weights and its card."""
    found = _told(model)
    if as_json:
        typer.echo(json.dumps(found, indent=1, default=str))
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for key, value in found.items():
        if key not in ("parts", "card"):
            console.print(f"{key}: {value}", markup=False, highlight=False, soft_wrap=True)
    table = Table("part", "class", "parameters", "weights")
    for row in found["parts"]:
        table.add_row(escape(row["part"]), row["class"], f"{row['parameters']:,}", row["status"])
    console.print(table)
    for key, value in found["card"].items():
        console.print(f"  {key}: {value}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _told(model: str) -> dict[str, Any]:
    from unimodal.catalog import catalog
    from unimodal.checkpoint import describe
    from unimodal.pretrained import EMBEDDED, load_with_info
    from unimodal.task_checkpoint import TASK, load_task_module, task_card

    tasks, embedded = catalog("tasks"), {p.name for p in EMBEDDED.glob("*") if p.is_dir()}
    folder = EMBEDDED / model if model in embedded else Path(model)
    if (folder / TASK).is_file():
        settings = task_card(folder)
        task_class: Any = tasks[str(settings.get("task"))]
        return _task(task_class, load_task_module(task_class, folder), settings)
    if model in tasks:
        task_class = tasks[model]
        own = EMBEDDED / str(task_class.weights)
        settings = task_card(own) if task_class.weights and (own / TASK).is_file() else {"encoder": task_class.encoder}
        return _task(task_class, load_task_module(task_class, None, allow_random=True), settings)
    if model in embedded:
        return describe(*load_with_info(f"unimodal:{model}", allow_random=True))
    if not folder.exists() and ":" not in model and "/" not in model:
        raise UnknownNameError("task or model", model, {*tasks, *embedded})
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(model, "is a file", "give the checkpoint's folder")
    return describe(*load_with_info(model, allow_random=True))


def _task(task_class: Any, module: Any, settings: dict[str, Any]) -> dict[str, Any]:
    from unimodal.provenance import Provenance

    told, rows = Provenance.of(module), []
    for name, child in module.named_children():
        keys = [f"{name}.{key}" for key in child.state_dict()]
        statuses = sorted({told.status(key) or "unknown" for key in keys})
        if keys:
            count = sum(p.numel() for p in child.parameters())
            rows.append(
                {"part": name, "class": type(child).__name__, "parameters": count, "status": ", ".join(statuses)}
            )
    return {
        "task": f"{task_class.name}: {task_class.summary}",
        "encoder": settings["encoder"],
        "weights from": told.source,
        "parts": rows,
        "card": {**settings.get("options", {}), **settings.get("card", {})},
    }
