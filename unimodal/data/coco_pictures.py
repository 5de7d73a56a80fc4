"""Pictures with objects: COCO's JSON (boxes, polygons, run lengths, crowds) beside a folder of pictures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.data.coco_json import CocoJson, read_coco_json
from unimodal.errors import InputError
from unimodal.instances import Instances
from unimodal.run_lengths import RunLengths, areas, parsed

__all__ = ["coco_pictures"]


def coco_pictures(
    path: Path, classes: Sequence[str] | None = None, *, masks: bool = False
) -> tuple[tuple[str, ...], list[tuple[Path, Instances]]]:
    """Class names, and (picture, its objects) in the file's order; a picture without objects is one of them.

    Args:
        path: The JSON file, or a folder with one; pictures lie beside it or in ``images/``.
        classes: As in :func:`~unimodal.data.coco_json.read_coco_json`.
        masks: Whether the segmentations are wanted; then every object needs one.

    Raises:
        InputError: the file is laid out otherwise; an annotation has no box of four numbers, no category of the file,
            or a segmentation that is damaged or missing.
        MissingExtraError: masks are wanted and pycocotools is not installed.
    """
    content = read_coco_json(path, classes)
    rows: dict[int, list[Mapping[str, Any]]] = {number: [] for number in content.pictures}
    for row in content.annotations:
        rows[row["image_id"]].append(row)
    pairs = [(file, _instances(content, rows[i], size, masks)) for i, (file, size) in content.pictures.items()]
    return content.classes, pairs


def _instances(content: CocoJson, rows: list[Mapping[str, Any]], size: tuple[int, int], masks: bool) -> Instances:
    boxes_N4, labels_N = np.zeros((len(rows), 4)), np.zeros(len(rows), dtype=np.int64)
    runs: list[RunLengths] = []
    for i, row in enumerate(rows):
        name, box, category = f"annotation {row.get('id')!r}", row.get("bbox"), row.get("category_id")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)) or min(box[2:]) < 0:
            raise InputError(content.path, f"{name} has the box {box!r}", "[left, upper, width, height] in px")
        if type(category) is not int or category not in content.index:
            raise InputError(content.path, f"{name} has the category {category!r}", "it is not among the categories")
        boxes_N4[i] = box[0], box[1], box[0] + box[2], box[1] + box[3]
        labels_N[i] = content.index[category]
        if masks:
            try:
                runs.append(parsed(row.get("segmentation"), size))
            except ValueError as error:
                raise InputError(content.path, f"{name} {error}") from None
    own = areas(runs) if masks else np.prod(boxes_N4[:, 2:] - boxes_N4[:, :2], axis=1)
    sizes_N = np.array(
        [r["area"] if _number(r.get("area")) else n for r, n in zip(rows, own, strict=True)], dtype=float
    )
    crowds_N = np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=bool)
    return Instances(size, boxes_N4, labels_N, masks=runs if masks else None, crowds=crowds_N, areas=sizes_N)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
