"""Viewers: the page's component for each kind of input and output, and a prediction's value as that component takes it.

A task names what it reads and what it shows; this table is all that the page knows about either.
"""

import colorsys
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

__all__ = ["Viewer", "input_component", "opened", "viewer"]

LONGEST_SIDE_PX = 1024


@dataclass(frozen=True)
class Viewer:
    """Components that show one kind of output.

    Args:
        components: What stands on the page, in order.
        values: Turns the value that :meth:`~unimodal.task.Prediction.render` gives into one value a component.
    """

    components: tuple[Any, ...]
    values: Callable[[Any], tuple[Any, ...]]


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
    return gr.File(label=f"Your file ({modality.replace('_', ' ')})", type="filepath", height=180)


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


def viewer(kind: str, classes: Sequence[str] = ()) -> Viewer:
    """The viewer of one of :data:`unimodal.task.OUTPUTS`; made inside a ``gr.Blocks``.

    Args:
        classes: Names that will be shown, if they are known: each one's colour is then the same in every picture.

    Raises:
        ValueError: ``kind`` is not a kind of output.
    """
    if kind == "classes":
        return Viewer((gr.Label(label="Classes", num_top_classes=5),), lambda value: (value,))
    if kind == "segments":
        picture = gr.AnnotatedImage(label="Segments", color_map=_colours(classes), height=380)
        share = gr.Label(label="Share of the picture", num_top_classes=5, show_heading=False)
        return Viewer((picture, share), _segments)
    if kind == "image":
        return Viewer(
            (gr.Image(label="Result", format="png", interactive=False, buttons=["download", "fullscreen"]),),
            lambda value: (value,),
        )
    if kind == "text":
        return Viewer((gr.Textbox(label="Text", interactive=False, lines=2, buttons=["copy"]),), lambda value: (value,))
    if kind == "table":
        return Viewer((gr.Dataframe(label="Table", interactive=False, wrap=True),), _table)
    raise ValueError(f"kind must be an output that a task can show, not {kind!r}")


def _segments(value: tuple[Any, Sequence[tuple[Any, str]]]) -> tuple[Any, dict[str, float]]:
    """The picture at screen size with its masks, largest first, and the share of each."""
    picture, segments = value
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    masks = [(np.asarray(mask, dtype=bool), name) for mask, name in segments]
    share: dict[str, float] = {}
    for mask, name in masks:
        share[name] = share.get(name, 0.0) + float(mask.mean())
    shrink = min(1.0, LONGEST_SIDE_PX / max(picture.size))
    width, height = (max(1, round(side * shrink)) for side in picture.size)
    shown = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    small = [(_nearest(mask, height, width), name) for mask, name in masks]
    small.sort(key=lambda pair: -pair[0].sum())
    return (np.asarray(shown), [(0.6 * mask, name) for mask, name in small if mask.any()]), share


def _nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    return mask[rows[:, None], columns]


def _table(value: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any]]:
    headers = list(value[0]) if value else []
    return ({"headers": headers, "data": [[_rounded(row[name]) for name in headers] for row in value]},)


def _rounded(value: Any) -> Any:
    """To the four digits that a person reads."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _colours(classes: Sequence[str]) -> dict[str, str] | None:
    """Hues that are far apart, neighbours in the list most of all, at two brightnesses."""
    found = {}
    for index, name in enumerate(classes):
        rgb = colorsys.hsv_to_rgb(index * 0.381966 % 1.0, 0.75, (0.95, 0.7)[index % 2])
        found[name] = "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)
    return found or None
