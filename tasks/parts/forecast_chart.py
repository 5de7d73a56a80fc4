"""Forecast chart: history, forecast and its intervals as small multiples, one panel a column, drawn with Pillow.

Lines and areas are drawn twice as large and shrunk, words at their final size, so both are sharp. Words are large
enough to be read where a page shows the picture at two thirds of its size.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unimodal.tasks.parts.axis_ticks import number_ticks, time_ticks

__all__ = ["forecast_chart"]

WIDTH, MARGIN, HEAD, GAP, FINE = 1120, 20, 92, 24, 2
LEFT, BOTTOM, TITLE = 76, 32, 28
TITLE_PX, NAME_PX, LEGEND_PX, TICK_PX = 24, 19, 18, 16
INK, FAINT, GRID, PAPER = (31, 41, 55), (107, 114, 128), (229, 231, 235), (255, 255, 255)
LINE, BANDS = (29, 78, 216), ((219, 234, 254), (165, 200, 250), (120, 165, 245))
MOST = 12  # panels: a screen


@dataclass(frozen=True)
class _Panel:
    """A panel's place in px, and how values and moments become px."""

    box: tuple[float, float, float, float]
    time: tuple[float, float]
    value: tuple[float, float]

    def x(self, moments: np.ndarray | float) -> np.ndarray:
        left, _, right, _ = self.box
        return left + (np.asarray(moments) - self.time[0]) / (self.time[1] - self.time[0]) * (right - left)

    def y(self, values: np.ndarray | float) -> np.ndarray:
        _, top, _, bottom = self.box
        return bottom - (np.asarray(values) - self.value[0]) / (self.value[1] - self.value[0]) * (bottom - top)


def forecast_chart(
    names: Sequence[str],
    past: tuple[np.ndarray, np.ndarray],
    future: tuple[np.ndarray, np.ndarray],
    intervals: Mapping[float, tuple[np.ndarray, np.ndarray]],
    *,
    title: str,
    dated: bool = True,
) -> Image.Image:
    """The picture; columns beyond the twelfth are counted in its head and not drawn.

    Args:
        names: Of the C columns.
        past: Moments (L,) and values (L, C); a value that is NaN leaves a gap.
        future: Moments (S,) and values (S, C).
        intervals: Lower and upper bounds (S, C) by the share of values that they should hold, 0.8 for 80 %.
        title: Of the picture.
        dated: Whether moments are seconds since 1970, else they are plain numbers.
    """
    shown = min(len(names), MOST)
    across = 1 if shown <= 3 else 2 if shown <= 8 else 3
    rows = -(-shown // across)
    height = {1: 440, 2: 300, 3: 250}.get(rows, 210)
    size = (WIDTH, HEAD + rows * (height + GAP) + MARGIN - GAP)
    fine = Image.new("RGB", (size[0] * FINE, size[1] * FINE), PAPER)
    pen, words = ImageDraw.Draw(fine), []
    wide = (WIDTH - 2 * MARGIN - (across - 1) * GAP) / across
    for i in range(shown):
        left, top = MARGIN + (i % across) * (wide + GAP), HEAD + (i // across) * (height + GAP)
        box = (left + LEFT, top + TITLE, left + wide - 8, top + height - BOTTOM)
        bounds = {level: (low[:, i], high[:, i]) for level, (low, high) in intervals.items()}
        words += _draw(pen, box, names[i], (past[0], past[1][:, i]), (future[0], future[1][:, i]), bounds, dated)
    picture = fine.reduce(FINE)
    pen = ImageDraw.Draw(picture)
    left_out = f"   (the first {shown} of {len(names)} columns)" if shown < len(names) else ""
    words.append((MARGIN, 26, "lm", _fit(title, TITLE_PX, WIDTH - 300) + left_out, INK, TITLE_PX))
    _legend(pen, intervals)
    for x, y, anchor, text, colour, size_px in words:
        pen.text((x, y), text, colour, ImageFont.load_default(size_px), anchor=anchor)
    return picture


def _draw(pen, box, name, past, future, bounds, dated) -> list[tuple]:
    """One panel's lines; returns its words as (x, y, anchor, text, colour, size)."""
    held = [past[1], future[1], *(side for pair in bounds.values() for side in pair)]
    values = np.concatenate([v[np.isfinite(v)] for v in held])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    panel = _Panel(box, (float(past[0][0]), float(future[0][-1])), (low - room, high + room))
    left, top, right, bottom = box
    words = [(left, top - 10, "ls", _fit(name, NAME_PX, right - left), INK, NAME_PX)]
    for value, text in number_ticks(low, high, 4 if bottom - top < 200 else 6):
        y = float(panel.y(value))
        _line(pen, [(left, y), (right, y)], GRID, 1)
        words.append((left - 7, y, "rm", text, FAINT, TICK_PX))
    for moment, text in time_ticks(*panel.time, max(2, int((right - left) / 130)), dated=dated):
        x = float(panel.x(moment))
        _line(pen, [(x, bottom), (x, bottom + 4)], FAINT, 1)
        words.append((x, bottom + 8, "ma", text, FAINT, TICK_PX))
    _line(pen, [(left, bottom), (right, bottom)], FAINT, 1)
    for place, level in enumerate(sorted(bounds, reverse=True)):
        lower, upper = bounds[level]
        start = past[1][-1:] if np.isfinite(past[1][-1]) else future[1][:1]
        moments = np.concatenate([past[0][-1:], future[0]])
        up = list(zip(panel.x(moments), panel.y(np.concatenate([start, upper])), strict=True))
        down = list(zip(panel.x(moments), panel.y(np.concatenate([start, lower])), strict=True))
        pen.polygon([(x * FINE, y * FINE) for x, y in up + down[::-1]], BANDS[min(place, len(BANDS) - 1)])
    now = float(panel.x(past[0][-1]))
    for y in np.arange(top, bottom, 7):
        _line(pen, [(now, y), (now, min(y + 3.5, bottom))], FAINT, 1)
    for run in _runs(past[1]):
        _line(pen, list(zip(panel.x(past[0][run]), panel.y(past[1][run]), strict=True)), INK, 1.7)
    joined = np.concatenate([past[1][-1:], future[1]]), np.concatenate([past[0][-1:], future[0]])
    known = np.isfinite(joined[0])
    _line(pen, list(zip(panel.x(joined[1][known]), panel.y(joined[0][known]), strict=True)), LINE, 2.2)
    return words


def _legend(pen: ImageDraw.ImageDraw, levels: Iterable[float]) -> None:
    """Names of lines and bands, under the title."""
    entries = [("history", INK, 3), ("forecast", LINE, 3)]
    bands = [(f"{level:.0%} interval", BANDS[min(i, len(BANDS) - 1)], 14)
             for i, level in enumerate(sorted(levels, reverse=True))]  # fmt: skip
    x, y, font = MARGIN, 60, ImageFont.load_default(LEGEND_PX)
    for text, colour, thick in entries + bands[::-1]:
        pen.rectangle((x, y - thick / 2, x + 28, y + thick / 2), colour)
        pen.text((x + 36, y), text, INK, font, anchor="lm")
        x += 36 + pen.textlength(text, font) + 28


def _runs(values: np.ndarray) -> list[slice]:
    """The stretches of values that are there."""
    known = np.concatenate([[False], np.isfinite(values), [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(known))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _line(pen: ImageDraw.ImageDraw, points: list, colour: tuple[int, int, int], width: float) -> None:
    thick = max(1, round(width * FINE))
    at = [(float(x) * FINE, float(y) * FINE) for x, y in points]
    if len(at) == 1:
        (x, y), r = at[0], thick
        pen.ellipse((x - r, y - r, x + r, y + r), colour)
    else:
        pen.line(at, colour, thick, joint="curve")


def _fit(text: str, size_px: int, width: float) -> str:
    """As much of ``text`` as fits into ``width`` px."""
    font = ImageFont.load_default(size_px)
    if font.getlength(text) <= width:
        return text
    kept = text[: int(width)]  # no letter is narrower than a pixel
    while kept and font.getlength(kept + "\u2026") > width:
        kept = kept[:-1]
    return kept + "\u2026"
