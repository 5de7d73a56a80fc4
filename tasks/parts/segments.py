"""Segment prediction: a label map in the picture's own pixels, its files and its overlay."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unimodal.reading.picture import open_picture

__all__ = ["SegmentPrediction", "distinct_colours"]

_SHOWN_PX = 1280  # longest side of the overlay: a screen, not an archive


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
        painted = np.asarray(self.colours, dtype=np.float32)[labels]
        mixed = np.asarray(picture, dtype=np.float32) * (1 - opacity) + painted * opacity
        return Image.fromarray(mixed.round().astype(np.uint8))

    def render(self) -> dict[str, Any]:
        """The picture with one named mask a class, and the classes' shares."""
        picture, labels = self._shown()
        shares = self.shares()
        masks = [(labels == self.classes.index(name), name) for name in shares]
        return {"segments": (picture, masks), "classes": shares}

    def _shown(self) -> tuple[Image.Image, np.ndarray]:
        with open_picture(self.original, pixel_limit=self.pixel_limit) as opened:
            width, height = opened.size
            scale = min(1.0, _SHOWN_PX / max(width, height))
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels, _ = opened.pixels((size[1], size[0]), (0, 0, width, height), Image.Resampling.BICUBIC)
        labels = np.asarray(Image.fromarray(self.labels).resize(size, Image.Resampling.NEAREST))
        return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()), labels


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """Colours that are easy to tell apart: hues in steps of the golden ratio, in three brightnesses."""
    colours = []
    for i in range(count):
        red, green, blue = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, (0.95, 0.7, 0.5)[i % 3])
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours
