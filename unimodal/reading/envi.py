"""ENVI: a raw cube and the text header beside it.

Source: the ENVI header format, as documented by its makers (L3Harris, "ENVI Header Files").
Axes: Y lines, X samples, B bands.
"""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.opening import open_stream, told

__all__ = ["EnviFile", "envi_header", "open_envi"]

_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_RAW = ("", ".img", ".dat", ".raw", ".bsq", ".bil", ".bip", ".bin", ".cub", ".envi")
_ORDER = {"bsq": (1, 2, 0), "bil": (0, 2, 1), "bip": (0, 1, 2)}  # where lines, samples and bands stand in the file
_ENTRY = re.compile(r"^[ \t]*([^=\n{};]+?)[ \t]*=[ \t]*(\{[^}]*\}|[^\n]*)", re.MULTILINE)
_NM = (
    (("micro", "um", "µm", "μm"), 1e3),
    (("nano", "nm"), 1.0),
    (("angstrom", "å"), 0.1),
    (("milli", "mm"), 1e6),
    (("meter", "metre"), 1e9),
)


@dataclass(frozen=True, eq=False)
class EnviFile:
    """An ENVI file: (Y, X, B) values, read when they are looked at, and what its header says of the bands.

    Values are as stored: gains, offsets and the reflectance scale factor are not applied.
    """

    name: str
    values: np.ndarray
    wavelengths: np.ndarray | None
    good: np.ndarray | None
    ignore: float | None


def envi_header(path: Path) -> Path | None:
    """The ENVI header that belongs to ``path``: itself, or a file beside it; None if there is none."""
    if path.suffix.lower() == ".hdr":
        return path if _is_envi(path) else None
    beside = (path.with_suffix(".hdr"), path.with_suffix(".HDR"), Path(f"{path}.hdr"), Path(f"{path}.HDR"))
    return next((header for header in beside if _is_envi(header)), None) if path.suffix.lower() in _RAW else None


def open_envi(path: Path) -> EnviFile | None:
    """The cube of a header or of a raw file with one beside it; None if ``path`` has to do with neither.

    A spectral library becomes a cube of one column, a row a spectrum.

    Raises:
        InputError: the header or the raw file is absent, damaged, of a kind that is not read (complex numbers,
            compressed), or the two contradict one another.
    """
    header, suffix = envi_header(path), path.suffix.lower()
    if header is None:
        if suffix == ".hdr":
            _no_envi(path)
        if suffix in _RAW[1:] and path.is_file():
            raise InputError(path, "has no ENVI header beside it", f"put {path.stem}.hdr next to it")
        return None
    held = {key.strip().lower(): value.strip() for key, value in _ENTRY.findall(_text(header)[0])}
    name = str(header)
    lines, samples, bands = (_number(held, key, name, least=1) for key in ("lines", "samples", "bands"))
    offset, kind = _number(held, "header offset", name, 0), _number(held, "data type", name)
    if kind not in _TYPES:
        raise InputError(name, f"its data type {kind} is not read", f"it may be {', '.join(map(str, _TYPES))}")
    if _number(held, "file compression", name, 0):
        raise InputError(name, "its raw file is compressed", "save it without compression")
    interleave = held.get("interleave", "bsq").lower()
    if interleave not in _ORDER:
        raise InputError(name, f"its interleave is {interleave!r}", "it may be bsq, bil or bip")
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if _number(held, "byte order", name, 0) else "<")
    raw = path if suffix != ".hdr" else _raw_beside(header)
    needed, size = offset + lines * samples * bands * dtype.itemsize, raw.stat().st_size
    if size < needed:
        raise InputError(
            raw, f"has {size} bytes and its header asks for {needed}", "give the whole file, and its header"
        )
    sizes = {"bsq": (bands, lines, samples), "bil": (lines, bands, samples), "bip": (lines, samples, bands)}[interleave]
    try:
        values = np.memmap(raw, dtype, "r", offset, sizes).transpose(_ORDER[interleave])
    except (OSError, ValueError) as error:
        raise InputError(raw, f"cannot be read ({told(error)})") from error
    if "library" in held.get("file type", "").lower():  # one spectrum a line
        values, bands = values.transpose(0, 2, 1), samples
    waves, good = _listed(held, "wavelength", bands, name), _listed(held, "bbl", bands, name)
    waves = None if waves is None else _nanometres(waves, held.get("wavelength units", "").lower())
    ignore = _listed(held, "data ignore value", 1, name)
    return EnviFile(name, values, waves, None if good is None else good > 0, None if ignore is None else ignore[0])


def _is_envi(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"ENVI")
    except (OSError, ValueError):
        return False


def _text(path: Path) -> tuple[str, bytes]:
    with ExitStack() as files:
        content = open_stream(path, files, what="an ENVI header").read(4_000_000)
    try:
        return content.decode("utf-8-sig").replace("\r", "\n"), content
    except UnicodeDecodeError:
        return content.decode("latin-1").replace("\r", "\n"), content


def _no_envi(path: Path) -> None:
    content = _text(path)[1]
    if not content.strip():
        raise InputError(path, "is empty", "an ENVI header begins with the line ENVI")
    raise InputError(path, f"is no ENVI header (it begins with {content[:8]!r})", "it begins with the line ENVI")


def _raw_beside(header: Path) -> Path:
    if header.with_suffix("").is_file():
        return header.with_suffix("")
    found = [
        path
        for path in sorted(header.parent.iterdir())
        if path.stem == header.stem and path.suffix.lower() in _RAW and path.is_file()
    ]
    if not found:
        names = f"{header.stem}.img, .dat, .raw, .bsq, .bil or .bip"
        raise InputError(header, "has no raw file beside it", f"put {names} next to it")
    return found[0]


def _number(held: dict[str, str], key: str, name: str, default: int | None = None, *, least: int = 0) -> int:
    word = held.get(key)
    if word is None and default is not None:
        return default
    if word is None or not re.fullmatch(r"\d{1,12}", word) or int(word) < least:
        cause = f"says {key} = {word}" if word is not None else f"does not say {key!r}"
        raise InputError(name, cause, f"{key} is a whole number from {least}")
    return int(word)


def _listed(held: dict[str, str], key: str, count: int, name: str) -> np.ndarray | None:
    words = [word for word in re.split(r"[\s,]+", held.get(key, "").strip("{} \n\t")) if word]
    if not words:
        return None
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(name, f"its {key!r} are no numbers ({told(error)})") from error
    if len(values) != count:
        raise InputError(name, f"its {key!r} are {len(values)} numbers for {count} bands")
    return values


def _nanometres(values: np.ndarray, unit: str) -> np.ndarray | None:
    if "index" in unit:
        return None
    if "wavenumber" in unit or "cm" in unit:
        return 1e7 / values if (values > 0).all() else None
    for words, factor in _NM:
        if any(word in unit for word in words):
            return values * factor
    return values * (1e3 if values.max() < 100 else 1.0)  # no unit: infrared in um, or nm
