"""PCD: the point cloud data format of PCL, as text, binary or compressed binary.

Source: Rusu & Cousins 2011, "3D is here: Point Cloud Library", and the library's description of PCD version 0.7.
"""

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.cloud import Cloud

__all__ = ["read_pcd"]

_WORDS = ("VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA")
_TYPES = {"F": "f", "I": "i", "U": "u"}


def read_pcd(content: bytes, name: str) -> Cloud:
    """The points with x, y, z, and the packed ``rgb`` as colours.

    Args:
        content: Of the file.
        name: Of the file, for messages.

    Raises:
        InputError: the header is damaged, there are no x, y, z, or fewer values follow than the header says.
    """
    header, at = _header(content, name)
    try:
        fields = header["FIELDS"]
        sizes = [int(word) for word in header["SIZE"]]
        counts = [int(word) for word in header.get("COUNT", ["1"] * len(fields))]
        kinds = [f"<{_TYPES[kind]}{size}" for kind, size in zip(header["TYPE"], sizes, strict=True)]
        total = int(header["POINTS"][0]) if "POINTS" in header else int(header["WIDTH"][0]) * int(header["HEIGHT"][0])
        dtype = np.dtype([(f"f{i}", k, (n,)) for i, (k, n) in enumerate(zip(kinds, counts, strict=True))])
        if len(kinds) != len(fields) or total < 0:
            raise ValueError(f"{len(fields)} fields with {len(kinds)} types, {total} points")
        way = header["DATA"][0]
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(name, f"has a damaged PCD header ({type(error).__name__}: {error})") from None
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise InputError(name, f"has points without {', '.join(missing)}", f"its fields are {' '.join(fields)}")
    if way == "ascii":
        columns = _of_text(content[at:], fields, kinds, counts, total, name)
    elif way in ("binary", "binary_compressed"):
        data = content[at:] if way == "binary" else _decompressed(content[at:], total * dtype.itemsize, name)
        if len(data) < total * dtype.itemsize:
            raise _short(name, len(data) // max(dtype.itemsize, 1), total)
        columns = _of_bytes(data, dtype, total, by_field=way == "binary_compressed")
    else:
        raise InputError(name, f"has PCD data of the kind {way!r}", "it may be ascii, binary or binary_compressed")
    xyz = np.stack([columns[fields.index(axis)].astype(np.float64) for axis in "xyz"], -1)
    packed = next((columns[fields.index(key)] for key in ("rgb", "rgba") if key in fields), None)
    return Cloud(xyz, f"PCD {way}", None if packed is None else _unpacked(packed))


def _header(content: bytes, name: str) -> tuple[dict[str, list[str]], int]:
    header: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in header:
        end = content.find(b"\n", at)
        if end < 0 or end - at > 65536:
            raise InputError(name, "is a PCD file whose header does not end", "it may be truncated")
        words = content[at:end].decode("latin-1").split()
        at = end + 1
        if words and words[0] in _WORDS:
            header[words[0]] = words[1:]
        elif words and not words[0].startswith("#"):
            raise InputError(name, f"has a damaged PCD header (a line begins with {words[0][:40]!r})")
    return header, at


def _of_text(
    body: bytes, fields: list[str], kinds: list[str], counts: list[int], total: int, name: str
) -> list[np.ndarray]:
    words, width = body.split(), sum(counts)
    if len(words) < total * width:
        raise _short(name, len(words) // max(width, 1), total)
    try:
        table = np.array([float(word) for word in words[: total * width]]).reshape(total, width)
    except ValueError as error:
        raise InputError(name, f"has a point with something that is no number ({error})") from None
    firsts = np.cumsum([0, *counts])[:-1]
    columns = [table[:, first] for first in firsts]
    # A colour written as a whole number is its bits; as a float it is the float that has these bits.
    return [
        column.astype(kind[1:]) if field in ("rgb", "rgba") and np.all(np.isfinite(column)) else column
        for column, kind, field in zip(columns, kinds, fields, strict=True)
    ]


def _of_bytes(data: bytes, dtype: np.dtype, total: int, *, by_field: bool) -> list[np.ndarray]:
    names = dtype.names or ()
    if not by_field:
        rows = np.frombuffer(data, dtype, total)
        return [rows[key][:, 0] for key in names]
    columns, at = [], 0
    for key in names:
        kind = dtype[key]
        columns.append(np.frombuffer(data, kind, total, at)[:, 0])
        at += total * kind.itemsize
    return columns


def _decompressed(body: bytes, wanted: int, name: str) -> bytes:
    """LZF: a control byte below 32 announces so many plain bytes, another one a copy of what came before."""
    if len(body) < 8:
        raise InputError(name, "has a compressed PCD body without its sizes", "it is truncated")
    packed, size = (int(n) for n in np.frombuffer(body, "<u4", 2))
    if size != wanted or packed > len(body) - 8:
        found = f"{len(body) - 8} of {packed} bytes that hold {size}; the points need {wanted}"
        raise InputError(name, f"has a damaged compressed PCD body ({found})", "it is truncated or its header is wrong")
    source, out, at = body[8 : 8 + packed], bytearray(), 0
    try:
        while at < packed and len(out) <= size:
            control = source[at]
            at += 1
            if control < 32:
                out += source[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += source[at]
                at += 1
            back = ((control & 31) << 8 | source[at]) + 1
            at += 1
            start, length = len(out) - back, length + 2
            if start < 0:
                raise IndexError
            piece = out[start : start + length]
            out += (piece * (length // back + 1))[:length] if back < length else piece
    except IndexError:
        raise InputError(name, "has a damaged compressed PCD body") from None
    if len(out) != size:
        raise InputError(name, f"has a damaged compressed PCD body ({len(out)} of {size} bytes)")
    return bytes(out)


def _unpacked(column: np.ndarray) -> np.ndarray | None:
    """Colours 0xRRGGBB in the bits of each value."""
    if column.dtype.kind == "f":
        if column.dtype.itemsize != 4:
            return None
        bits = column.copy().view(column.dtype.str.replace("f", "u"))
    else:
        bits = column
    bits = bits.astype(np.int64)
    return np.stack([bits >> shift & 255 for shift in (16, 8, 0)], -1).astype(np.float32) / 255


def _short(name: str, found: int, total: int) -> InputError:
    return InputError(name, f"has {found} of the {total} points of its header", "it is truncated")
