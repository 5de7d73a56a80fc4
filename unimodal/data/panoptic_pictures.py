"""Pictures with panoptic segments: COCO's panoptic JSON, and a PNG of each picture whose colours are segments.

Source: Kirillov et al. 2018, arXiv:1801.00868; the format: id = R + 256 G + 65536 B, 0 is void
(github.com/cocodataset/panopticapi, utils.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unimodal.data.coco_json import CocoJson, read_coco_json
from unimodal.errors import InputError
from unimodal.panoptic_quality import Panoptic

__all__ = ["PanopticFile", "panoptic_pictures"]


@dataclass(frozen=True)
class PanopticFile:
    """One picture's segments on disk.

    Args:
        file: The PNG.
        size: (rows, columns) of the picture.
        classes: The class of each segment by its id.
        crowds: Segments that stand for several things.
    """

    file: Path
    size: tuple[int, int]
    classes: Mapping[int, int]
    crowds: frozenset[int]

    def read(self) -> Panoptic:
        """The segments.

        Raises:
            InputError: the PNG is damaged, no colour picture, of another size, or its segments are not those listed.
        """
        try:
            with Image.open(self.file) as picture:
                mode, colours_YX3 = picture.mode, np.asarray(picture)
        except (OSError, SyntaxError) as error:
            raise InputError(self.file, f"cannot be read as a picture of segments ({error})") from error
        if mode not in ("RGB", "RGBA"):
            raise InputError(self.file, f"is a picture of mode {mode}", "colours R + 256 G + 65536 B are expected")
        if colours_YX3.shape[:2] != self.size:
            raise InputError(self.file, f"has {colours_YX3.shape[:2]} rows and columns", f"{self.size} are expected")
        ids_YX = colours_YX3[..., :3].astype(np.int64) @ np.array([1, 256, 65536])
        odd = sorted((set(np.unique(ids_YX).tolist()) - {0}) ^ set(self.classes))
        if odd:
            raise InputError(self.file, f"has not the segments that are listed, as to {odd[:5]}")
        return Panoptic(ids_YX, self.classes, self.crowds)


def panoptic_pictures(
    path: Path, classes: Sequence[str] | None = None
) -> tuple[tuple[str, ...], tuple[bool, ...], list[tuple[Path, PanopticFile]]]:
    """Class names, whether each is of things, and (picture, its segments) in the file's order of annotations.

    Args:
        path: ``NAME.json``, or a folder with one; its PNGs lie in ``NAME/`` or beside it, pictures beside it or in
            ``images/``.
        classes: As in :func:`~unimodal.data.coco_json.read_coco_json`.

    Raises:
        InputError: the file is laid out otherwise, lists a segment without a category of the file, or a PNG is missing.
    """
    content = read_coco_json(path, classes)
    pairs = [(content.pictures[row["image_id"]], _segments(content, row)) for row in content.annotations]
    return content.classes, content.things, [(file, segments) for (file, _), segments in pairs]


def _segments(content: CocoJson, row: Mapping[str, Any]) -> PanopticFile:
    name, segments = row.get("file_name"), row.get("segments_info")
    if not isinstance(name, str) or not isinstance(segments, list):
        cause = f"annotation of the picture {row['image_id']} has no file_name or no segments_info"
        raise InputError(content.path, cause, "panoptic segments are expected")
    file = content.path.with_suffix("") / name
    file = file if file.is_file() else content.path.parent / name
    if not file.is_file():
        raise InputError(
            content.path,
            f"names the segments {name}, which are not there",
            f"{content.path.with_suffix('') / name} is expected",
        )
    kinds, crowds = dict[int, int](), set[int]()
    for segment in segments:
        number, category = (segment.get(k) if isinstance(segment, dict) else None for k in ("id", "category_id"))
        if type(number) is not int or not 0 < number < 1 << 24 or number in kinds:
            raise InputError(content.path, f"{name} has the segment {number!r}", "one id each in 1 .. 2^24 - 1")
        if type(category) is not int or category not in content.index:
            cause = f"{name} has a segment of the category {category!r}"
            raise InputError(content.path, cause, "it is not among the categories")
        kinds[number] = content.index[category]
        if segment.get("iscrowd", 0):
            crowds.add(number)
    return PanopticFile(file, content.pictures[row["image_id"]][1], kinds, frozenset(crowds))
