"""demo: the installed tasks in a browser."""

import importlib
from typing import Annotated

import typer

from unimodal.cli.settings import Device, torch_device
from unimodal.errors import MissingExtraError

__all__ = ["demo"]


def demo(
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 7860,
    device: Device = "auto",
) -> int:
    """Open the demo: a tab for each installed task."""
    try:
        serve = importlib.import_module("unimodal.demos.app").serve  # found by name: the core imports no demo
    except ModuleNotFoundError as error:
        if str(error.name).startswith("gradio"):
            raise MissingExtraError("gradio", "demo") from error
        raise
    serve(host=host, port=port, device=torch_device(device))
    return 0
