"""Label maps: one integer class a pixel, from files, bytes or arrays."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.errors import InputError

__all__ = ["read_label_map"]

_MODES = ("L", "P", "1", "I", "I;16")


def read_label_map(source: Any, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Integer labels (rows, columns).

    Args:
        source: A path, encoded bytes, a file object, or an integer array. A palette picture gives its indices.
        size: (rows, columns) to resample to, nearest neighbour; None keeps the map's own.

    Raises:
        InputError: it cannot be read, or it has several channels (a colour picture is no label map).
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        labels, name = source, "array"
    else:
        name = str(source) if isinstance(source, str | Path) else "mask"
        try:
            file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
            if hasattr(file, "seek"):
                file.seek(0)  # the same source may be read once an epoch
            with Image.open(file) as picture:
                if picture.mode not in _MODES:
                    cause = f"is a picture of mode {picture.mode}, not a label map"
                    raise InputError(name, cause, "one channel of class indices is expected")
                labels = np.asarray(picture)
        except (OSError, SyntaxError) as error:
            raise InputError(name, f"cannot be read as a label map ({error})") from error
    if labels.ndim != 2 or labels.dtype.kind not in "uib":
        raise InputError(name, f"is an array {labels.dtype} of shape {labels.shape}", "integers (rows, columns)")
    labels = labels.astype(np.int64)
    if size is None or size == labels.shape:
        return labels
    rows = ((np.arange(size[0]) + 0.5) * labels.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * labels.shape[1] / size[1]).astype(int)
    return labels[rows[:, None], columns]
