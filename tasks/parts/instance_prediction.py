"""Instance prediction: one picture's objects in its own pixels, as COCO's JSON, an overlay and rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from unimodal.instances import Instances
from unimodal.run_lengths import areas, decode, to_label_map
from unimodal.tasks.parts.overlay import painted, shown_map, shown_picture

__all__ = ["InstancePrediction"]


@dataclass(frozen=True, eq=False)
class InstancePrediction:
    """One picture's objects, surest first.

    Args:
        source: The picture's name.
        objects: With scores; with masks or with boxes alone.
        classes: Names of the classes.
        colours: One (red, green, blue) a class.
        original: What was read, to draw over it.
        pixel_limit: As the tokenizer had it.
    """

    source: str
    objects: Instances
    classes: tuple[str, ...]
    colours: Sequence[Sequence[int]]
    original: Any
    pixel_limit: int

    def rows(self) -> list[dict[str, Any]]:
        """A label, a score and a box (left, upper, right, lower edge in px) of each object, surest first."""
        objects = self.objects
        return [
            {
                "label": self.classes[int(objects.labels[i])],
                "score": float(self._scores[i]),
                **dict(zip(("left", "upper", "right", "lower"), objects.boxes[i].tolist(), strict=True)),
            }
            for i in self._order
        ]

    def to_json(self) -> dict[str, Any]:
        """The picture's size, the number of objects, and the objects."""
        rows, columns = self.objects.size
        return {"count": len(self.objects), "width": columns, "height": rows, "objects": self.rows()}

    def save(self, folder: Path, stem: str) -> list[Path]:
        """``stem.coco.json``: pictures, categories and annotations with a score; ``stem.overlay.jpg``.

        Categories count from 1. Masks are compressed run lengths.
        """
        annotations, overlay = folder / f"{stem}.coco.json", folder / f"{stem}.overlay.jpg"
        annotations.write_text(json.dumps(self._coco()), encoding="utf-8")
        self.overlay().save(overlay, quality=90)
        return [annotations, overlay]

    def overlay(self) -> Image.Image:
        """The objects' colours over the picture, if there are masks, and their boxes with names."""
        picture = shown_picture(self.original, pixel_limit=self.pixel_limit)
        if self.objects.masks is not None:
            labels = shown_map(to_label_map([self.objects.masks[i] for i in self._order], self.objects.size), picture)
            colours = [(0, 0, 0), *(self.colours[int(self.objects.labels[i])] for i in self._order)]
            picture = painted(picture, labels, colours, np.where(labels > 0, 0.5, 0.0))
        pen, thick = ImageDraw.Draw(picture), max(1, max(picture.size) // 400)
        for i in reversed(self._order):
            colour, box = tuple(self.colours[int(self.objects.labels[i])]), self._shown_box(i, picture)
            pen.rectangle(box, outline=colour, width=thick)
            words = f"{self.classes[int(self.objects.labels[i])]} {self._scores[i]:.2f}"
            corner = max(0.0, min(box[0], picture.width - pen.textlength(words))), box[1]  # words end in the picture
            pen.rectangle(pen.textbbox(corner, words), fill=colour)
            pen.text(corner, words, fill="white" if sum(colour) < 384 else "black")
        return picture

    def render(self) -> dict[str, Any]:
        """The picture with one named mask an object (its box's frame where there are boxes alone), and the rows."""
        picture = shown_picture(self.original, pixel_limit=self.pixel_limit)
        masks = [(self._shown_mask(i, picture), self.classes[int(self.objects.labels[i])]) for i in self._order]
        return {"segments": (picture, masks), "table": self.rows()}

    @property
    def _scores(self) -> np.ndarray:
        return np.ones(len(self.objects)) if self.objects.scores is None else self.objects.scores

    @property
    def _order(self) -> list[int]:
        return np.argsort(-self._scores, kind="stable").tolist()

    def _shown_box(self, i: int, picture: Image.Image) -> tuple[float, float, float, float]:
        rows, columns = self.objects.size
        x, y = picture.width / columns, picture.height / rows
        left, upper, right, lower = self.objects.boxes[i].tolist()
        return left * x, upper * y, max(left * x, right * x - 1), max(upper * y, lower * y - 1)

    def _shown_mask(self, i: int, picture: Image.Image) -> np.ndarray:
        if self.objects.masks is not None:
            return shown_map(decode(self.objects.masks[i]), picture)
        frame = Image.new("1", picture.size)
        ImageDraw.Draw(frame).rectangle(self._shown_box(i, picture), outline=1, width=2)
        return np.asarray(frame)

    def _coco(self) -> dict[str, Any]:
        objects, (rows, columns) = self.objects, self.objects.size
        sizes = (
            np.prod(objects.boxes[:, 2:] - objects.boxes[:, :2], 1) if objects.masks is None else areas(objects.masks)
        )
        notes = []
        for number, i in enumerate(self._order, 1):
            left, upper, right, lower = objects.boxes[i].tolist()
            note = {"id": number, "image_id": 1, "category_id": int(objects.labels[i]) + 1, "iscrowd": 0}
            note |= {"bbox": [left, upper, right - left, lower - upper], "area": float(sizes[i])}
            note |= {"score": float(self._scores[i])}
            notes.append(note if objects.masks is None else note | {"segmentation": objects.masks[i]})
        return {
            "images": [{"id": 1, "file_name": Path(self.source).name, "width": columns, "height": rows}],
            "categories": [{"id": i, "name": name} for i, name in enumerate(self.classes, 1)],
            "annotations": notes,
        }
