"""Run lengths: masks as COCO's run-length encodings, and what is done with them, through pycocotools.

Source: github.com/cocodataset/cocoapi, common/maskApi.h and maskApi.c (columns first, zeros first, compressed counts).
Axes: N masks, Y rows, X columns.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from unimodal.errors import MissingExtraError

__all__ = [
    "RunLengths",
    "areas",
    "boxes_of",
    "decode",
    "encode",
    "from_label_map",
    "overlaps",
    "parsed",
    "to_label_map",
]

_FAR = 10  # a corner of a polygon lies within so many pictures of the picture


class RunLengths(TypedDict):
    """One mask: its (rows, columns), and pycocotools' compressed counts as text, so that it is JSON as it is."""

    size: list[int]
    counts: str


def encode(mask: np.ndarray) -> RunLengths:
    """The run lengths of a (Y, X) mask; whatever is not 0 is in it."""
    return _told(_library().encode(np.asfortranarray(np.asarray(mask) != 0, dtype=np.uint8)))


def decode(mask: RunLengths) -> np.ndarray:
    """The (Y, X) boolean mask."""
    rows, columns = mask["size"]
    lengths = _lengths(mask["counts"]) or []
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(columns, rows).T


def areas(masks: Sequence[RunLengths]) -> np.ndarray:
    """(N,) pixels of each mask."""
    return np.asarray(_library().area(list(masks)), dtype=np.int64).reshape(len(masks))


def boxes_of(masks: Sequence[RunLengths]) -> np.ndarray:
    """(N, 4) left, upper, right, lower edge in px: the smallest box around each mask, zeros for an empty one."""
    boxes_N4 = np.asarray(_library().toBbox(list(masks)), dtype=np.float64).reshape(len(masks), 4)
    boxes_N4[:, 2:] += boxes_N4[:, :2]
    return boxes_N4


def overlaps(found: Any, true: Any, crowds: Sequence[bool]) -> np.ndarray:
    """Intersection over union of each found with each true mask, or row of boxes (left, upper, width, height).

    With a crowd, which stands for many, it is the share of what was found that lies in the crowd.

    Shapes:
        returns (found, true).
    """
    if len(found) == 0 or len(true) == 0:
        return np.zeros((len(found), len(true)))
    boxes = not isinstance(found[0], dict)
    mine, its = (np.asarray(x, dtype=np.float64) if boxes else list(x) for x in (found, true))
    return np.asarray(_library().iou(mine, its, [int(crowd) for crowd in crowds]))


def parsed(segmentation: Any, size: tuple[int, int]) -> RunLengths:
    """A segmentation as COCO's files have it: polygons, or run lengths as numbers or compressed.

    Args:
        segmentation: A list of polygons [x, y, x, y, ...] in px, or ``{"size": ..., "counts": ...}``.
        size: (Y, X) of the picture.

    Raises:
        ValueError: it is neither, is damaged, or is of another size; the message is a clause that says so.
    """
    rows, columns = size
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if list(segmentation.get("size") or ()) != [rows, columns]:
            raise ValueError(f"has run lengths of the size {segmentation.get('size')}, not {[rows, columns]}")
        if isinstance(counts, bytes):
            counts = counts.decode("ascii", "replace")
        lengths = _lengths(counts) if isinstance(counts, str) else counts
        if not isinstance(lengths, list) or any(type(n) is not int or n < 0 for n in lengths):
            raise ValueError("has run lengths that are no list of counts")
        if sum(lengths) != rows * columns:
            raise ValueError(f"has run lengths of {sum(lengths)} pixels, not {rows} x {columns}")
        return _told(_library().frPyObjects({"size": [rows, columns], "counts": lengths}, rows, columns))
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("has a segmentation that is neither polygons nor run lengths")
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("has a polygon that is no list of at least three corners x, y")
        if not all(isinstance(v, int | float) and abs(v) <= _FAR * max(size) for v in polygon):
            raise ValueError("has a polygon with corners that are no numbers or far outside of the picture")
    return _told(_library().merge(_library().frPyObjects(segmentation, rows, columns)))


def from_label_map(labels: np.ndarray) -> list[RunLengths]:
    """One mask for each number but 0 that occurs in a (Y, X) map, in the numbers' order."""
    return [encode(labels == number) for number in np.unique(labels) if number != 0]


def to_label_map(masks: Sequence[RunLengths], size: tuple[int, int]) -> np.ndarray:
    """(Y, X) int32: 1 for the first mask's pixels, 2 for the second's ..., 0 for none's. The first one has a pixel."""
    labels_YX = np.zeros(size, dtype=np.int32)
    for number in range(len(masks), 0, -1):
        labels_YX[decode(masks[number - 1])] = number
    return labels_YX


def _library() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtraError("pycocotools", "detection") from error
    return mask


def _told(mask: Any) -> RunLengths:
    return {"size": [int(n) for n in mask["size"]], "counts": mask["counts"].decode("ascii")}


def _lengths(counts: str) -> list[int] | None:
    """The numbers in compressed counts (5 bits a character, from the third on differences); None if damaged.

    They are unpacked here because pycocotools trusts them: it writes beyond the mask where they are too long.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (1 << shift) if bits & 16 else 0
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths if shift == 0 else None
