"""Segment prediction: a label map in the picture's own pixels, its files and its overlay."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unimodal.tasks.parts.overlay import painted, shown_map, shown_picture

__all__ = ["SegmentPrediction", "distinct_colours"]


@dataclass(frozen=True, eq=False)
class SegmentPrediction:
    """One picture's label map.

    Args:
        source: The picture's name.
        labels: (rows, columns) uint8 class indices, in the picture's own pixels.
        classes: Names of the classes.
        colours: One (red, green, blue) a class.
        original: What was read, to draw over it.
        pixel_limit: As the tokenizer had it.
    """

    source: str
    labels: np.ndarray
    classes: tuple[str, ...]
    colours: Sequence[Sequence[int]]
    original: Any
    pixel_limit: int

    def shares(self) -> dict[str, float]:
        """The part of the picture that each class covers, largest first; classes that do not occur are left out."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes)) / self.labels.size
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: float(counts[i]) for i in order if counts[i] > 0}

    def to_json(self) -> dict[str, Any]:
        """The picture's size and the share of each class that occurs."""
        rows, columns = self.labels.shape
        shares = [{"label": name, "share": share} for name, share in self.shares().items()]
        return {"label": shares[0]["label"], "width": columns, "height": rows, "shares": shares}

    def save(self, folder: Path, stem: str) -> list[Path]:
        """``stem.png``: class indices with the colours as palette; ``stem.overlay.jpg``: colours over the picture."""
        mask, overlay = folder / f"{stem}.png", folder / f"{stem}.overlay.jpg"
        indexed = Image.fromarray(self.labels).convert("L")
        indexed.putpalette([channel for colour in self.colours for channel in colour])
        indexed.save(mask)
        self.overlay().save(overlay, quality=90)
        return [mask, overlay]

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The classes' colours over the picture."""
        picture, labels = self._shown()
        return painted(picture, labels, self.colours, opacity)

    def render(self) -> dict[str, Any]:
        """The picture with one named mask a class, and the classes' shares."""
        picture, labels = self._shown()
        shares = self.shares()
        masks = [(labels == self.classes.index(name), name) for name in shares]
        return {"segments": (picture, masks), "classes": shares}

    def _shown(self) -> tuple[Image.Image, np.ndarray]:
        picture = shown_picture(self.original, pixel_limit=self.pixel_limit)
        return picture, shown_map(self.labels, picture)


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """Colours that are easy to tell apart: hues in steps of the golden ratio, in three brightnesses."""
    colours = []
    for i in range(count):
        red, green, blue = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, (0.95, 0.7, 0.5)[i % 3])
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours
