"""Labelled pictures on disk: folders of classes, tables, and pictures with masks beside them."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimodal.errors import InputError

__all__ = ["labelled_pictures", "masked_pictures", "pictures_with_maps"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}


def labelled_pictures(path: Path, classes: Sequence[str]) -> list[tuple[Any, str]]:
    """(picture, class name) pairs of a folder with one sub-folder a class, or of a table.

    Args:
        path: The folder, or a CSV or Parquet file with the columns ``image`` (a path, relative ones from the table's
            folder, or encoded bytes) and ``label`` (a class name, or an index into ``classes``).
        classes: Class names, for labels that are numbers. A number that is no index stays what it is, as a name.

    Raises:
        InputError: there is nothing at ``path``, it is laid out otherwise, or a row of the table has no label.
    """
    path = Path(path)
    if path.is_dir():
        pairs = [
            (file, folder.name)
            for folder in sorted(path.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
            for file in sorted(folder.rglob("*"))
            if _is_picture(file)
        ]
        if not pairs:
            raise InputError(str(path), "has no pictures in sub-folders", "one sub-folder a class is expected")
        return pairs
    rows = _table(path, "image", "label")
    for number, (_, label) in enumerate(rows):
        if label is None or label == "":
            raise InputError(f"{path} row {number}", "has no label")
    return [(_picture(v, path, number), _class_name(label, classes)) for number, (v, label) in enumerate(rows)]


def masked_pictures(path: Path) -> list[tuple[Any, Any]]:
    """(picture, mask) pairs: ``images/NAME.*`` with ``masks/NAME.png``, or a table with ``image`` and ``mask``.

    Raises:
        InputError: there is nothing at ``path``, it is laid out otherwise, or a picture has no mask.
    """
    path = Path(path)
    if not path.is_dir():
        rows = _table(path, "image", "mask")
        return [
            (_picture(image, path, number), _picture(mask, path, number)) for number, (image, mask) in enumerate(rows)
        ]
    return list(pictures_with_maps(path, "masks"))


def pictures_with_maps(path: Path, maps: str) -> list[tuple[Path, Path]]:
    """(picture, map) pairs of a folder: ``images/NAME.*`` with ``maps/NAME.png``.

    Args:
        maps: The maps' folder; in messages one of them goes by its singular.

    Raises:
        InputError: there are no pictures, or one has no map.
    """
    images = sorted(f for f in (path / "images").glob("*") if _is_picture(f))
    if not images:
        raise InputError(str(path), "has no pictures in images/", f"images/NAME.jpg with {maps}/NAME.png are expected")
    pairs = [(image, path / maps / f"{image.stem}.png") for image in images]
    for image, found in pairs:
        if not found.exists():
            raise InputError(str(image), f"has no {maps.removesuffix('s')}", f"{found} is expected")
    return pairs


def _table(path: Path, *columns: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        raise InputError(str(path), "does not exist")
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            names = pq.read_schema(path).names
            found: Any = pq.read_table(path, columns=list(columns)) if set(columns) <= set(names) else None
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(str(path), f"is no Parquet file that can be read ({error})") from error
        rows = None if found is None else [tuple(row[c] for c in columns) for row in found.to_pylist()]
    elif path.suffix.lower() == ".csv":
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                names = list(reader.fieldnames or [])
                rows = [tuple(r[c] for c in columns) for r in reader] if set(columns) <= set(names) else None
        except (csv.Error, UnicodeDecodeError, OSError) as error:
            raise InputError(str(path), f"is no CSV file that can be read ({error})") from error
    else:
        raise InputError(str(path), f"is neither a folder nor a table ({path.suffix or 'no suffix'})", "CSV or Parquet")
    if rows is None:
        raise InputError(str(path), f"lacks a column (found {', '.join(names)})", f"expected: {', '.join(columns)}")
    if not rows:
        raise InputError(str(path), "has no rows")
    return rows


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")


def _picture(value: Any, table: Path, number: int) -> Any:
    """What a tokenizer reads. A cell without a picture becomes empty bytes: an error of that row, not of the table."""
    if isinstance(value, dict):  # the layout of published image tables: {"bytes": ..., "path": ...}
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str) and value:
        return table.parent / value
    encoded = io.BytesIO(value if isinstance(value, bytes) else b"")
    encoded.name = f"{table.name} row {number}"  # pyright: ignore[reportAttributeAccessIssue]
    return encoded


def _class_name(label: Any, classes: Sequence[str]) -> str:
    if isinstance(label, int) or (isinstance(label, str) and label.isdecimal() and label not in classes):
        return classes[int(label)] if 0 <= int(label) < len(classes) else str(label)
    return str(label)
