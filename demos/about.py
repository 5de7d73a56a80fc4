"""About: what a task's tab tells of its model before anything is loaded.

The checkpoints' JSON and the headers of their weights are read, never the weights: the page opens at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from unimodal.checkpoint import CONFIG, WEIGHTS, read_config
from unimodal.errors import CheckpointError
from unimodal.pretrained import EMBEDDED
from unimodal.provenance import Provenance
from unimodal.task_checkpoint import TASK

__all__ = ["About", "about"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_FIRST = ("scores", "limits", "data")


@dataclass(frozen=True)
class About:
    """What is known of a task's model.

    Args:
        text: Markdown: parts with their provenance, scores, limits.
        colours: A hex colour a class, where the task's options have ``classes`` and ``colours``.
        missing: Why the task cannot run here; empty if it can.
    """

    text: str
    colours: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


def about(task: Any) -> About:
    """What is known of the model that ``task``, a task class, uses by default."""
    rows, cards, missing, options = [], [], [], {}
    encoder = task.encoder
    if task.weights is not None:
        folder = EMBEDDED / task.weights  # an absolute path stays what it is
        try:
            settings = read_config(folder / TASK)
            encoder, options = settings.get("encoder", encoder), settings.get("options") or {}
            held = "Task with its encoder" if options.get("whole") else "Task head"
            rows += _rows(held, folder, Provenance({"": "trained"}))
            cards.append(("Task", settings.get("card") or {}))
        except CheckpointError as error:
            missing.append(_absent(f"the task's weights `{folder.name}`", folder / TASK, error))
    if ":" in encoder and not options.get("whole"):
        rows.append(f"- Shared encoder `{encoder}`: fetched and converted at the first use")
    elif not options.get("whole"):
        folder = EMBEDDED / encoder
        try:
            config = read_config(folder / CONFIG)
            rows += _rows("Shared encoder", folder, Provenance(**config.get("provenance", {})))
            cards.append(("Shared encoder", config.get("card") or {}))
        except CheckpointError as error:
            missing.append(_absent(f"the shared encoder `{folder.name}`", folder / CONFIG, error))
    text = ["**Weights**", "", *rows] if rows else []
    for title, card in cards:
        ordered = {**{key: card[key] for key in _FIRST if key in card}, **card}
        text += ["", f"**{title}**", "", *_bullets(ordered)] if ordered else []
    text += ["", "**From Python**", "", "```python", *_example(task), "```"]
    return About("\n".join(text), _colours(options), " and ".join(missing))


def _rows(part: str, folder: Path, provenance: Provenance) -> list[str]:
    """A line for each state that some of the folder's parameters are in."""
    counts: dict[str, int] = {}
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                size = 1
                for length in file.get_slice(name).get_shape():
                    size *= length
                if not name.endswith(_STATISTICS):
                    status = provenance.status(name) or "unknown"
                    counts[status] = counts.get(status, 0) + size
    except (OSError, SafetensorError) as error:
        raise CheckpointError(folder / WEIGHTS, f"cannot be read ({error})") from error
    return [f"- {part} `{folder.name}`: {status}, {count:,} parameters" for status, count in counts.items()]


def _colours(options: Mapping[str, Any]) -> dict[str, str]:
    classes, colours = options.get("classes") or (), options.get("colours") or ()
    return {str(name): "#" + bytes(colour).hex() for name, colour in zip(classes, colours, strict=False)}


def _absent(what: str, path: Path, error: CheckpointError) -> str:
    return f"{what} cannot be read ({error.cause})" if path.exists() else f"{what} are not installed"


def _bullets(values: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    for key, value in values.items():
        words = str(key).replace("_", " ")
        head = f"{'  ' * indent}- {words if indent else words.capitalize()}"
        if isinstance(value, Mapping):
            yield f"{head}:"
            yield from _bullets(value, indent + 1)
        elif isinstance(value, list | tuple):
            yield f"{head}: {'; '.join(_plain(item) for item in value)}"
        else:
            yield f"{head}: {_plain(value)}"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _example(task: Any) -> list[str]:
    name = "photo.jpg" if task.inputs[0] == "image" else "FILE"
    return ["import unimodal", f'task = unimodal.load_task("{task.name}")', f'task.predict([task.read("{name}")])']
