"""Panoptic prediction: one picture's segments of things and stuff, as panoptic JSON and PNG, an overlay and rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unimodal.panoptic_quality import Panoptic
from unimodal.tasks.parts.overlay import painted, shown_map, shown_picture

__all__ = ["PanopticPrediction"]


@dataclass(frozen=True, eq=False)
class PanopticPrediction:
    """One picture's segments.

    Args:
        source: The picture's name.
        segments: In the picture's own pixels; numbers are below 2^24, 0 is void.
        classes: Names of the classes.
        things: Whether each class is of things that can be counted.
        colours: One (red, green, blue) a class.
        original: What was read, to draw over it.
        pixel_limit: As the tokenizer had it.
        scores: How sure, by segment, where that is known.
    """

    source: str
    segments: Panoptic
    classes: tuple[str, ...]
    things: tuple[bool, ...]
    colours: Sequence[Sequence[int]]
    original: Any
    pixel_limit: int
    scores: Mapping[int, float] | None = None

    def rows(self) -> list[dict[str, Any]]:
        """A label, whether it is a thing, the share of the picture and the score (1 if unknown), largest first."""
        numbers, counts = np.unique(self.segments.ids, return_counts=True)
        area = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        return [
            {
                "label": self.classes[kind],
                "thing": self.things[kind],
                "share": area[number] / self.segments.ids.size,
                "score": float((self.scores or {}).get(number, 1.0)),
            }
            for number, kind in sorted(self.segments.classes.items(), key=lambda pair: -area[pair[0]])
        ]

    def to_json(self) -> dict[str, Any]:
        """The picture's size, the number of segments, and the segments."""
        rows, columns = self.segments.ids.shape
        return {"count": len(self.segments.classes), "width": columns, "height": rows, "segments": self.rows()}

    def save(self, folder: Path, stem: str) -> list[Path]:
        """``stem.panoptic.json`` with ``stem.png`` (id = R + 256 G + 65536 B), and ``stem.overlay.jpg``.

        Categories count from 1.
        """
        notes, ids, overlay = (folder / f"{stem}.{end}" for end in ("panoptic.json", "png", "overlay.jpg"))
        notes.write_text(json.dumps(self._coco(ids.name)), encoding="utf-8")
        Image.fromarray(_colours_of(self.segments.ids)).save(ids)
        self.overlay().save(overlay, quality=90)
        return [notes, ids, overlay]

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The classes' colours over the picture, with a white line between segments; void is left as it is."""
        picture, order_YX = self._shown()
        kinds = self.segments.classes
        colours = [(0, 0, 0), *(self.colours[kinds[i]] for i in sorted(kinds)), (255, 255, 255)]
        edge_YX = np.zeros(order_YX.shape, dtype=bool)
        edge_YX[1:] |= order_YX[1:] != order_YX[:-1]
        edge_YX[:, 1:] |= order_YX[:, 1:] != order_YX[:, :-1]
        labels_YX = np.where(edge_YX, len(colours) - 1, order_YX)
        return painted(picture, labels_YX, colours, np.where(labels_YX > 0, opacity, 0.0))

    def render(self) -> dict[str, Any]:
        """The picture with one named mask a segment, and the rows."""
        picture, order_YX = self._shown()
        numbers = sorted(self.segments.classes)
        masks = [(order_YX == i, self.classes[self.segments.classes[number]]) for i, number in enumerate(numbers, 1)]
        return {"segments": (picture, masks), "table": self.rows()}

    def _shown(self) -> tuple[Image.Image, np.ndarray]:
        """The picture, and the rank of each pixel's segment among the numbers, from 1; 0 is void."""
        picture = shown_picture(self.original, pixel_limit=self.pixel_limit)
        numbers = np.array([0, *sorted(self.segments.classes)])
        ranks_YX = np.searchsorted(numbers, self.segments.ids).astype(np.int32)
        return picture, shown_map(ranks_YX, picture)

    def _coco(self, file_name: str) -> dict[str, Any]:
        rows, columns = self.segments.ids.shape
        infos = []
        for number, kind in self.segments.classes.items():
            inside = self.segments.ids == number
            ys, xs = np.flatnonzero(inside.any(1)).tolist(), np.flatnonzero(inside.any(0)).tolist()
            box = [xs[0], ys[0], xs[-1] + 1 - xs[0], ys[-1] + 1 - ys[0]]
            infos.append({"id": number, "category_id": kind + 1, "iscrowd": 0, "area": int(inside.sum()), "bbox": box})
        names = zip(self.classes, self.things, strict=True)
        return {
            "images": [{"id": 1, "file_name": Path(self.source).name, "width": columns, "height": rows}],
            "categories": [{"id": i, "name": name, "isthing": int(thing)} for i, (name, thing) in enumerate(names, 1)],
            "annotations": [{"image_id": 1, "file_name": file_name, "segments_info": infos}],
        }


def _colours_of(ids_YX: np.ndarray) -> np.ndarray:
    return np.stack([ids_YX % 256, ids_YX // 256 % 256, ids_YX // 65536], -1).astype(np.uint8)
