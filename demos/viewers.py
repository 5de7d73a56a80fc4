"""Viewers: the page's component for each kind of input and output, and a prediction's value as that component takes it.

A task names what it reads and what it shows; this table is all that the page knows about either.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

__all__ = ["Viewer", "hint", "input_component", "opened", "viewer"]

LONGEST_SIDE_PX, OPACITY = 1024, 0.6
_SERIES = ("variates", "time_series")
_TABLE = "Your table (CSV, TSV or Parquet)"
_ROWS = "A row for each moment, the oldest first; columns of numbers, and a column of dates if there is one."


@dataclass(frozen=True)
class Viewer:
    """What shows one kind of output.

    Args:
        component: What stands on the page.
        value: Turns what :meth:`~unimodal.task.Prediction.render` gives into what the component takes.
    """

    component: Any
    value: Callable[[Any], Any]


def input_component(modality: str) -> Any:
    """What a person hands an input of this modality in with: a picture by drop, camera or paste, else a file."""
    if modality == "image":
        return gr.Image(
            label="Your picture",
            type="filepath",
            image_mode=None,
            sources=["upload", "webcam", "clipboard"],
            height=280,
            buttons=["fullscreen"],
        )
    label = _TABLE if modality in (*_SERIES, "table") else f"Your file ({modality.replace('_', ' ')})"
    return gr.File(label=label, type="filepath", height=180)


def hint(modality: str) -> str:
    """What such a file looks like, where a newcomer cannot know."""
    return _ROWS if modality in _SERIES else ""


def opened(payload: Mapping[str, Any] | None, modality: str) -> Any:
    """The upload as a source for the task's own tokenizer.

    Gradio's decoder is not asked: it would turn 16-bit and CMYK pictures into something else and report damage in its
    own words. A picture is read from memory under the name that the user gave it.

    Args:
        payload: What the browser sent: ``path`` of the upload, ``orig_name`` of the user's file.

    Raises:
        gr.Error: nothing was uploaded.
    """
    path = (payload or {}).get("path")
    if not payload or not path:
        raise gr.Error("Choose a file first.", title="Nothing to look at", print_exception=False)
    if modality != "image":
        return Path(path)
    source = io.BytesIO(Path(path).read_bytes())
    source.name = payload.get("orig_name") or Path(path).name
    return source


def viewer(kind: str, colours: Mapping[str, str] | None = None) -> Viewer:
    """The viewer of one of :data:`unimodal.task.OUTPUTS`; made inside a ``gr.Blocks``.

    Args:
        colours: A hex colour a name, for segments. Names that it lacks get one by their place in the legend.

    Raises:
        ValueError: ``kind`` is not a kind of output.
    """
    if kind == "classes":
        return Viewer(gr.Label(label="Classes", num_top_classes=5), lambda value: value)
    if kind == "segments":
        return Viewer(gr.AnnotatedImage(label="Segments", height=380, color_map=dict(colours or {}) or None), _segments)
    if kind == "image":
        buttons: list[Any] = ["download", "fullscreen"]
        return Viewer(
            gr.Image(label="Result", show_label=False, format="png", interactive=False, buttons=buttons),
            lambda value: value,
        )
    if kind == "text":
        return Viewer(gr.Textbox(label="In words", interactive=False, lines=2, buttons=["copy"]), lambda value: value)
    if kind == "table":
        return Viewer(gr.Dataframe(label="Table", headers=[" "], interactive=False, wrap=True), _table)
    raise ValueError(f"kind must be an output that a task can show, not {kind!r}")


def _segments(value: tuple[Any, Sequence[tuple[Any, str]]]) -> tuple[np.ndarray, list[tuple[np.ndarray, str]]]:
    """The picture at screen size with its masks, largest first and half transparent."""
    picture, segments = value
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    shrink = min(1.0, LONGEST_SIDE_PX / max(picture.size))
    width, height = (max(1, round(side * shrink)) for side in picture.size)
    shown = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    masks = [(_nearest(np.asarray(mask, dtype=bool), height, width), name) for mask, name in segments]
    masks.sort(key=lambda pair: -pair[0].sum())
    return np.asarray(shown), [(OPACITY * mask, name) for mask, name in masks if mask.any()]


def _nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    return mask[rows[:, None], columns]


def _table(value: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    headers = list(value[0]) if value else []
    decimals = {name: _decimals([row[name] for row in value]) for name in headers}
    return {"headers": headers, "data": [[_rounded(row[name], decimals[name]) for name in headers] for row in value]}


def _decimals(column: Sequence[Any]) -> int | None:
    """As many as show four digits of what differs in a column, or of its value where nothing does."""
    numbers = [value for value in column if isinstance(value, float) and math.isfinite(value)]
    if not numbers:
        return None
    size = (max(numbers) - min(numbers)) or abs(numbers[0])
    return max(0, 3 - math.floor(math.log10(size))) if size else 0


def _rounded(value: Any, decimals: int | None) -> Any:
    return round(value, decimals) if isinstance(value, float) and decimals is not None else value
