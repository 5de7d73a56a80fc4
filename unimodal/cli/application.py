"""Application: the commands put together, each in a file of its own, and what all of them share in the help."""

from typing import Annotated

import typer

from unimodal.cli.bench import bench
from unimodal.cli.conformance import conformance
from unimodal.cli.demo import demo
from unimodal.cli.doctor import doctor
from unimodal.cli.embed import embed
from unimodal.cli.evaluate import evaluate
from unimodal.cli.info import info
from unimodal.cli.listing import listing
from unimodal.cli.neighbours import neighbours
from unimodal.cli.predict import predict
from unimodal.cli.train import train

__all__ = ["application"]

EXIT_CODES = "\n\n".join(
    (
        "Exit codes:",
        "0 all went well",
        "1 finished, and some rows are errors (doctor: something does not work)",
        "2 wrong usage, an unknown name, or an output folder of another run",
        "3 nothing could be done: no usable input, weights or package",
        "130 interrupted; what was done is kept, and the same command goes on",
        "141 what read the output stopped reading (head, less)",
    )
)


def application() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        help="Every modality becomes tokens, one core transforms them, every task reads them.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_shared)
    app.command("list", epilog=EXIT_CODES)(listing)
    for command in (predict, embed, neighbours, evaluate, train, demo, conformance, doctor, info):
        app.command(epilog=EXIT_CODES)(command)
    app.command(epilog=EXIT_CODES, context_settings={"ignore_unknown_options": True})(bench)
    return app


def _shared(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error was raised (anywhere in a command).")
    ] = False,
) -> None:
    """Taken out of the arguments before they come here; listed for the help."""
