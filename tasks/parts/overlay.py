"""Overlay: a picture at screen size, with colours laid over it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from unimodal.reading.picture import open_picture

__all__ = ["painted", "shown_map", "shown_picture"]

_SHOWN_PX = 1280  # longest side: a screen, not an archive


def shown_picture(original: Any, *, pixel_limit: int) -> Image.Image:
    """What was read, as displayed, shrunk to the size of a screen.

    Args:
        original: The source as the tokenizer got it.
        pixel_limit: As the tokenizer had it.
    """
    with open_picture(original, pixel_limit=pixel_limit) as opened:
        width, height = opened.size
        scale = min(1.0, _SHOWN_PX / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels, _ = opened.pixels((size[1], size[0]), (0, 0, width, height), Image.Resampling.BICUBIC)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def shown_map(labels: np.ndarray, picture: Image.Image) -> np.ndarray:
    """A map of labels in the size of the picture that is shown."""
    return np.asarray(Image.fromarray(labels).resize(picture.size, Image.Resampling.NEAREST))


def painted(
    picture: Image.Image, labels: np.ndarray, colours: Sequence[Sequence[int]], opacity: float | np.ndarray = 0.5
) -> Image.Image:
    """The labels' colours over the picture.

    Args:
        labels: (rows, columns) of the picture, indices into ``colours``.
        opacity: Of the colours, one for all pixels or one for each.
    """
    over = np.asarray(colours, dtype=np.float32).reshape(-1, 3)[labels]
    share = np.broadcast_to(np.asarray(opacity, dtype=np.float32), labels.shape)[..., None]
    mixed = np.asarray(picture, dtype=np.float32) * (1 - share) + over * share
    return Image.fromarray(mixed.round().astype(np.uint8))
