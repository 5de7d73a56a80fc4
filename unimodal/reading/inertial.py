"""Inertial: which columns are the axes of an accelerometer, a gyroscope or a magnetometer, and in which units.

Names as phones, watches and loggers write them: ``ax``, ``gyro_z``, ``accelerometerX (g)``, ``Linear Acceleration x
(m/s^2)``, ``userAcceleration.y``, ``wrist acc y``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["KINDS", "UNITS", "Triad", "triads_of", "unit_of"]

KINDS = ("accelerometer", "gyroscope", "magnetometer")
UNITS = {  # name: kind, and its size in m/s2, rad/s or uT
    "m/s2": (0, 1.0),
    "g": (0, 9.80665),
    "mg": (0, 9.80665e-3),
    "rad/s": (1, 1.0),
    "deg/s": (1, np.pi / 180),
    "mdeg/s": (1, np.pi / 180e3),
    "rpm": (1, np.pi / 30),
    "uT": (2, 1.0),
    "mT": (2, 1e3),
    "nT": (2, 1e-3),
    "gauss": (2, 100.0),
    "mgauss": (2, 0.1),
}
_SPELLED = {  # as headers write them, in lower case and without blanks, signs of powers and brackets
    **dict.fromkeys(("m/s2", "m/s/s", "ms2", "ms-2", "m/s-2", "mps2", "m/sec2", "m/s²", "meterpersecond2"), "m/s2"),
    **dict.fromkeys(("g", "gs", "g0", "gravity"), "g"),
    **dict.fromkeys(("mg", "milli-g", "millig"), "mg"),
    **dict.fromkeys(("rad/s", "rads", "rad/sec", "radps", "rps", "rads-1", "radian/s", "radians/s"), "rad/s"),
    **dict.fromkeys(("deg/s", "degs", "deg/sec", "dps", "°/s", "degree/s", "degrees/s", "degps"), "deg/s"),
    **dict.fromkeys(("mdps", "mdeg/s"), "mdeg/s"),
    "rpm": "rpm",
    **dict.fromkeys(("ut", "µt", "μt", "microtesla"), "uT"),
    **{"mt": "mT", "nt": "nT", "gauss": "gauss", "mgauss": "mgauss", "milligauss": "mgauss"},
}
_STARTS = (
    ("acc", "lacc", "linacc", "linearacc", "useracc", "gravity", "totalacc", "bodyacc"),
    ("gyr", "angular", "angvel", "rotation", "omega", "bodygyro"),
    ("mag", "compass"),
)
_SHORT = ({"a", "la"}, {"g", "w", "r"}, {"m", "b"})


@dataclass(frozen=True)
class Triad:
    """Three axes of one sensor.

    Args:
        kind: Index into :data:`KINDS`.
        columns: Those of x, y and z.
        unit: A key of :data:`UNITS`, or None if the names do not say it.
        named: Whether the names say what sensor it is; bare x, y, z are taken for an accelerometer.
    """

    kind: int
    columns: tuple[int, int, int]
    unit: str | None
    named: bool = True


def triads_of(names: Sequence[str]) -> list[Triad]:
    """The sensors among columns, in the order of their first axis."""
    found: dict[tuple[str, str | None], dict[str, int]] = {}
    for index, name in enumerate(names):
        axis, stem, unit = _split(name)
        if axis:
            found.setdefault((stem, unit), {})[axis] = index
    triads = []
    for (stem, unit), axes in found.items():
        kind = _kind(stem)
        if kind is None and unit is not None:
            kind = UNITS[unit][0]
        if set(axes) == set("xyz") and (kind is not None or stem in ("", "axis", "raw", "sensor")):
            fits = unit if kind is None or unit is None or UNITS[unit][0] == kind else None
            triads.append(Triad(kind or 0, (axes["x"], axes["y"], axes["z"]), fits, kind is not None))
    return sorted(triads, key=lambda triad: min(triad.columns))


def unit_of(kind: int, values: np.ndarray) -> tuple[str, str]:
    """The unit that the sizes of measurements speak for, and a note of it.

    A sensor at rest or in motion of people feels about one gravity; nobody turns by 35 rad/s for long.

    Shapes:
        values: (L, 3), NaN where missing.
    """
    size = np.nanmedian(np.sqrt(np.nansum(values**2, 1))) if kind == 0 else np.nanpercentile(np.abs(values), 99)
    if kind == 0:
        unit = "g" if 0.5 <= size <= 2.5 else "mg" if 500 <= size <= 2500 else "m/s2"
    elif kind == 1:
        unit = "deg/s" if size > 35 else "rad/s"
    else:
        unit = "uT" if size > 3 else "gauss"
    return unit, f"the {KINDS[kind]}'s unit is not said; its values look like {unit}"


def _split(name: str) -> tuple[str, str, str | None]:
    """Axis, name without axis and unit, unit; the axis is empty if there is none."""
    unit = None
    bracket = re.search(r"[(\[{](.+?)[)\]}]", name)
    if bracket:
        unit = _SPELLED.get(re.sub(r"[\s^*·]", "", bracket[1]).lower())
        name = name[: bracket.start()] + name[bracket.end() :]
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[^a-zA-Z0-9/²°µ]+", plain.lower()) if word]
    if unit is None and len(words) > 1 and words[-1] in _SPELLED:
        unit = _SPELLED[words.pop()]
    axes = [i for i, word in enumerate(words) if word in ("x", "y", "z")]
    if len(axes) == 1:
        axis = words.pop(axes[0])
        return axis, " ".join(words), unit
    for i, word in enumerate(words):
        found = re.fullmatch(r"(.+)([xyz])(\d*)", word)
        if found and _kind(found[1].rstrip("0123456789")) is not None:
            return found[2], " ".join([*words[:i], found[1] + found[3], *words[i + 1 :]]), unit
    return "", "", None


def _kind(stem: str) -> int | None:
    words = [word for word in stem.split() if not word.startswith("magnitude")]
    joined = "".join(words)
    for kind, starts in enumerate(_STARTS):
        if joined.startswith(starts) or any(word.startswith(starts) for word in words):
            return kind
    for kind, short in enumerate(_SHORT):
        if any(word.rstrip("0123456789") in short for word in words):
            return kind
    return None
