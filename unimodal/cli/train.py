"""train: a task's own parameters on a labelled data set, on a frozen encoder or with one from scratch."""

from pathlib import Path
from typing import Annotated

import typer

from unimodal.cli.settings import Device, Workers, known_task, task_options, torch_device

__all__ = ["train"]


def train(
    task: Annotated[str, typer.Argument(help="See 'unimodal list tasks'.", show_default=False)],
    data: Annotated[Path, typer.Argument(help="A labelled data set, laid out as the task says.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the task checkpoint.", show_default=False)],
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What unimodal.load() takes (the task's own by default), or an encoder from scratch: "
            "recipe:NAME, recipe:NAME/SIZE, recipe:NAME/SIZE,image=64 (see 'unimodal list recipes').",
            show_default=False,
        ),
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="A labelled data set to measure on.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names in their order, with commas; found in DATA by default.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A setting of the task's own, in JSON or as a word, for example horizons=[24,48]; repeatable.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = 500,
    batch: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 64,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 3e-3,
    seed: Annotated[int, typer.Option(help="Of the initial weights and the order of samples.")] = 0,
    device: Device = "auto",
    workers: Workers = 2,
) -> int:
    """Train a task on your data; then 'unimodal predict TASK --weights OUT' uses it.

    Only the task's own parameters are learned, the encoder stays as it is; but one from scratch is trained along, and
    is saved with the task. Ctrl-C keeps the state, and the same command goes on from it. Samples that cannot be read
    are skipped and named.
    """
    from unimodal.cli.progress import progress
    from unimodal.fitting import fit_task
    from unimodal.training import Progress

    options = task_options(known_task(task), option or [])
    if classes:
        options["classes"] = tuple(name.strip() for name in classes.split(","))
    with progress("steps") as tell:

        def report(now: Progress) -> None:
            measured = "".join(f"  {name} {value:.3f}" for name, value in (now.measured or {}).items())
            tell(now.step, now.steps, now.rate_hz, now.left_s, f"loss {now.loss:.4f}{measured}")

        card = fit_task(
            task,
            data,
            out,
            encoder=encoder,
            options=options,
            steps=steps,
            batch=batch,
            rate=rate,
            seed=seed,
            validation=validation,
            device=torch_device(device),
            workers=workers,
            report=report,
        )
    for words in card["skipped"][:3]:
        typer.echo(f"  skipped {words}", err=True)
    if len(card["skipped"]) > 3:
        typer.echo(f"  and {len(card['skipped']) - 3} more, on the card", err=True)
    measured = card["measured"]
    if isinstance(measured, dict):
        measured = ", ".join(
            f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in measured["metrics"].items()
        )
    typer.echo(f"trained in {card['spent_s']} s, loss {card['loss']:.4f}, measured: {measured}")
    typer.echo(f"use it: unimodal predict {task} SOURCE --weights {out} --out RESULTS")
    return 1 if card["skipped"] else 0
