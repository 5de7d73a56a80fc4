"""App: the demo's page, generated from what the installed tasks declare; one tab a task.

Importing this file needs the extra ``demo``.
"""

import asyncio
import html
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimodal.catalog import Problem, catalog
from unimodal.errors import CheckpointError, InputError, MissingExtraError

try:
    import gradio as gr
except ModuleNotFoundError as missing:
    if missing.name != "gradio":
        raise
    raise MissingExtraError("gradio", "demo") from None

import typer

from unimodal.demos.about import About, about
from unimodal.demos.desk import Desk
from unimodal.demos.theme import theme
from unimodal.demos.viewers import hint, input_component, opened, viewer
from unimodal.demos.whole_files import write_whole_files

__all__ = ["build", "serve"]

UPLOAD_LIMIT_MB = 32
PORTS_TRIED = 20


@dataclass(frozen=True)
class Tab:
    """What one task declares, gathered before the page is made so that a faulty task leaves no half of a tab."""

    task: Any
    examples: Sequence[Any]
    about: About


def build(*, device: str = "cpu") -> gr.Blocks:
    """The page. Nothing is loaded before somebody asks a task.

    Each task has a public endpoint under its own name: ``client.predict(handle_file(path), api_name="/NAME")``.

    Args:
        device: The torch device that answers; it has one queue.
    """
    tabs, problems = _tabs()
    desk = Desk(device)
    write_whole_files()
    with gr.Blocks(title="unimodal", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(_masthead(len(tabs), device), elem_id="masthead", padding=False)
        with gr.Tabs():
            for tab in tabs:
                with gr.Tab(tab.task.title, id=tab.task.name, elem_id=f"tab-{tab.task.name}"):
                    _fill(tab, desk)
        if problems:
            with gr.Accordion(f"Problems ({len(problems)})", open=False, elem_id="problems"):
                gr.Markdown("\n".join(_problem(problem) for problem in problems))
    return page.queue(max_size=256)


def serve(host: str = "127.0.0.1", port: int = 7860, *, device: str = "cpu") -> None:
    """Serve the page until Ctrl-C. The address is printed when it answers.

    Args:
        host: The interface to listen on; the default is reachable from this machine only.
        port: If it is taken, the next free one of the twenty that follow; 0 means any.
        device: See :func:`build`.

    Raises:
        OSError: none of these ports is free, or the host is not one of this machine.
    """
    free = _free_port(host, port)
    if port and free != port:
        typer.echo(f"Port {port} is in use; taking {free}.")
    page = build(device=device)
    _, address, _ = page.launch(
        server_name=host,
        server_port=free,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        show_error=True,
        inbrowser=False,
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        max_file_size=f"{UPLOAD_LIMIT_MB}mb",
        theme=theme(),
        css_paths=Path(__file__).with_name("page.css"),
    )
    typer.echo(f"The demo runs at {address} on {device}. Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("\nThe demo has ended.")
    finally:
        page.close(verbose=False)


def _tabs() -> tuple[list[Tab], list[Problem]]:
    tasks, tabs = catalog("tasks"), []
    usable, problems = tasks.usable(), list(tasks.problems())
    for name, task in usable.items():
        try:
            tabs.append(Tab(task, tuple(task.examples()), about(task)))
        except Exception as error:  # an outside task may raise anything, and must not take the page down
            problems.append(Problem("tasks", name, tasks.source(name), f"{type(error).__name__}: {error}"))
    return tabs, problems


def _fill(tab: Tab, desk: Desk) -> None:
    task, modality = tab.task, tab.task.inputs[0]
    gr.Markdown(task.summary, elem_classes="summary")
    if tab.about.missing:
        gr.Markdown(f"This task cannot run yet: {tab.about.missing}.", elem_classes="note")
    narrow, wide = (5, 6) if modality == "image" else (3, 8)  # a file's name needs less room than a picture
    with gr.Row():
        with gr.Column(scale=narrow, min_width=300):
            given = input_component(modality)
            if hint(modality):
                gr.Markdown(hint(modality), elem_classes="hint")
            with gr.Row():
                run = gr.Button("Run", variant="primary", scale=3, interactive=not tab.about.missing)
                cancel = gr.Button("Cancel", variant="secondary", scale=1, min_width=90)
            samples = None
            if tab.examples:
                rows = [[str(example)] for example in tab.examples]
                samples = gr.Examples(rows, given, label="Or try one of these", cache_examples=False)
        with gr.Column(scale=wide, min_width=300):
            viewers = [viewer(kind, tab.about.colours) for kind in task.outputs]
            elapsed = gr.Markdown("", elem_classes="elapsed")
    with gr.Accordion("About this model", open=False):
        gr.Markdown(tab.about.text)
    shown = [one.component for one in viewers]
    seconds = gr.State(None)

    async def predict(payload: Any, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        """Ask the task about one input. The work is in threads, so that a request can be cancelled at any time."""
        begun = time.perf_counter()
        try:
            progress(0.1, "Reading the file" if task.name in desk else "Loading the model")
            loaded = await asyncio.to_thread(desk.task, task.name)
            sample = await asyncio.to_thread(lambda: loaded.read(opened(payload, modality)))
            progress(0.5, "Predicting")
            rendered = await asyncio.to_thread(desk.answer, task.name, sample)
        except InputError as error:
            raise _told("This file cannot be used", error) from error
        except CheckpointError as error:
            raise _told("The model cannot be loaded", error) from error
        values = [one.value(rendered[kind]) for kind, one in zip(task.outputs, viewers, strict=True)]
        return [*values, time.perf_counter() - begun]

    def queued(listen: Any, **options: Any) -> Any:
        return listen(
            predict,
            given,
            [*shown, seconds],
            preprocess=False,
            concurrency_id=desk.device,
            concurrency_limit=1,
            show_progress_on=shown[:1],
            **options,
        )

    events = [queued(run.click, api_name=task.name, api_description=task.summary)]
    if samples is not None and not tab.about.missing:
        events.append(queued(samples.load_input_event.then, api_visibility="private"))
    private: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
    for event in events:
        event.success(lambda s: f"Answered in {s:.2f} s on {desk.device}.", seconds, elapsed, **private)
    # Cleared by the browser itself: an answer may come before a second request to the server would.
    run.click(None, None, elapsed, js="() => ''", **private)
    cancel.click(lambda: "Cancelled.", None, elapsed, cancels=events, **private)
    chosen = given.input if hasattr(given, "input") else given.upload  # a person's choice, not an example's
    chosen(lambda: [None] * len(shown) if shown[1:] else None, None, shown, **private)


def _told(title: str, error: InputError | CheckpointError) -> gr.Error:
    """The error's own words in the page, which takes them for HTML, until they are closed.

    Of a file that was handed in only the name is told: where the server keeps it is nobody's concern.
    """
    kept = str(Path(error.source).name) if isinstance(error, InputError) else error.source
    words = str(type(error)(kept, error.cause, error.remedy))
    return gr.Error(html.escape(words, quote=False), duration=None, title=title, print_exception=False)


def _masthead(tasks: int, device: str) -> str:
    facts = (f"{tasks} task{'' if tasks == 1 else 's'}", f"runs on {device}", "works offline")
    spans = "".join(f"<span>{html.escape(fact)}</span>" for fact in facts)
    line = "Every kind of input becomes tokens, one shared encoder reads them, and each task has its own small head."
    return f'<h1>unimodal</h1><p>{line}</p><div class="facts">{spans}</div>'


def _problem(problem: Problem) -> str:
    cause = " ".join(problem.cause.split()).replace("`", "'")
    return f"- **{problem.name}** from `{problem.source}` is not shown: `{cause}`"


def _free_port(host: str, port: int) -> int:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    for candidate in range(port, port + PORTS_TRIED + 1) if port else (0,):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                if error.errno in (98, 48, 10048):  # in use, as Linux, macOS and Windows number it
                    continue
                raise OSError(error.errno, f"cannot listen on {host}:{candidate} ({error.strerror})") from error
            return probe.getsockname()[1]
    raise OSError(f"ports {port} to {port + PORTS_TRIED} of {host} are all in use; name another one")
