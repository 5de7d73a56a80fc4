"""COCO's JSON: a file with pictures, categories and annotations, checked before anything is done with it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unimodal.errors import InputError

__all__ = ["CocoJson", "read_coco_json"]


class CocoJson(NamedTuple):
    """What is common to annotations of objects and of panoptic segments.

    Args:
        path: The file.
        classes: Class names, in the order of their indices.
        index: The class of each category, by its id.
        things: Whether each class is of things that can be counted (``isthing``, 1 if it is not said).
        pictures: (file, (rows, columns)) by id.
        annotations: Rows with an ``image_id`` that is in ``pictures``.
    """

    path: Path
    classes: tuple[str, ...]
    index: Mapping[int, int]
    things: tuple[bool, ...]
    pictures: Mapping[int, tuple[Path, tuple[int, int]]]
    annotations: Sequence[Mapping[str, Any]]


def read_coco_json(path: Path, classes: Sequence[str] | None = None) -> CocoJson:
    """Read and check the file; pictures are looked for beside it, in ``images/`` and in the folder above's.

    Args:
        path: A JSON file, or a folder with one.
        classes: Names whose order gives the indices; None for the file's categories in its order.

    Raises:
        InputError: the file is not there, is no such JSON, has a category that is no class, or names a picture that
            is not there.
    """
    path = _file(Path(path))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(path, f"is no JSON file that can be read ({error})") from error
    tables: list[Any] = [content.get(name) if isinstance(content, dict) else None for name in _TABLES]
    if not all(isinstance(table, list) and all(isinstance(row, dict) for row in table) for table in tables):
        raise InputError(path, "is not in COCO's layout", f"an object with the lists {', '.join(_TABLES)} is expected")
    images, categories, annotations = tables
    names = [_field(path, row, "category", "name", str) for row in categories]
    ids = [_field(path, row, "category", "id", int) for row in categories]
    classes = tuple(names if classes is None else classes)
    if len(set(ids)) < len(ids) or len(set(names)) < len(names):
        raise InputError(path, "has two categories of one id or name")
    if unknown := [name for name in names if name not in classes]:
        known = ", ".join(classes[:5]) + (" ..." if len(classes) > 5 else "")
        raise InputError(path, f"has the category {unknown[0]!r}, which is no class", f"the classes are {known}")
    isthing = {row["name"]: bool(row.get("isthing", 1)) for row in categories}
    pictures: dict[int, tuple[Path, tuple[int, int]]] = {}
    for row in images:
        number, rows, columns = (_field(path, row, "picture", name, int) for name in ("id", "height", "width"))
        if number in pictures or rows < 1 or columns < 1:
            raise InputError(path, f"has the picture {number} twice, or without pixels")
        pictures[number] = (_picture(path, _field(path, row, "picture", "file_name", str)), (rows, columns))
    if not pictures:
        raise InputError(path, "has no pictures")
    for row in annotations:
        if _field(path, row, "annotation", "image_id", int) not in pictures:
            raise InputError(path, f"has an annotation of the picture {row['image_id']}", "it is not among the images")
    index = {i: classes.index(name) for i, name in zip(ids, names, strict=True)}
    things = tuple(isthing.get(name, True) for name in classes)
    return CocoJson(path, classes, index, things, pictures, annotations)


_TABLES = ("images", "categories", "annotations")


def _file(path: Path) -> Path:
    if not path.is_dir():
        if not path.exists():
            raise InputError(path, "does not exist")
        return path
    files = sorted(path.glob("*.json"))
    if len(files) != 1:
        raise InputError(path, f"has {len(files)} JSON files", "give the JSON file, or a folder with one")
    return files[0]


def _field(path: Path, row: Mapping[str, Any], what: str, name: str, kind: type) -> Any:
    value = row.get(name)
    if type(value) is not kind:
        words = {int: "a whole number", str: "a string"}[kind]
        raise InputError(path, f"has {what} {row.get('id')!r} with {name} = {value!r}", f"{words} is expected")
    return value


def _picture(path: Path, name: str) -> Path:
    places = (path.parent / name, path.parent / "images" / name, path.parent.parent / "images" / name)
    for place in places:
        if place.is_file():
            return place
    raise InputError(path, f"names the picture {name}, which is not there", f"{places[1]} is expected")
