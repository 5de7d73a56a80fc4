"""Drawings: an input of any modality as a piece of HTML that a person can look at.

Sources are those of recipes/multimodal_data.py: arrays, encoded pictures, records.
"""

import base64
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["drawer"]

SIDE = 148  # px of a drawing
HEAT = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
_TURN = np.array([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5
INKS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#a6761d", "#444444", "#66a61e")


def drawer(modality: str, sources: Sequence[Any]) -> Callable[[Any], str]:
    """What draws a source of this modality; ``sources`` are all of them, for scales that they share.

    Raises:
        ValueError: nothing here draws that modality.
    """
    if modality == "hyperspectral":
        tops: dict[int, Any] = {}
        for bands in {source.shape[-1] for source in sources}:
            alike = np.concatenate([s[..., _bands(bands)].reshape(-1, 3) for s in sources if s.shape[-1] == bands])
            tops[bands] = np.quantile(alike, 0.995, axis=0)
        return lambda source: _false_colours(source, tops)
    known: dict[str, Callable[[Any], str]] = {
        "image": _picture,
        "infrared": _picture,
        "xray": _picture,
        "video": _frames,
        "point_cloud": _points,
        "audio": _spectrogram,
        "time_series": lambda values: _lines([np.asarray(values).T]),
        "imu": _motion,
        "ct": _slices,
        "text": lambda words: f"<p class='words'>{escape(str(words))}</p>",
        "table": _row,
        "graph": _graph,
    }
    if modality not in known:
        raise ValueError(f"modality must be one of {', '.join(known)} or hyperspectral, not {modality!r}")
    return known[modality]


def _png(pixels: np.ndarray | Image.Image, *, smooth: bool = False, height: int = SIDE, width: int = SIDE) -> str:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    filter_ = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    buffer = io.BytesIO()
    picture.convert("RGB").resize(size, filter_).save(buffer, "PNG", optimize=True)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"<img width='{size[0]}' height='{size[1]}' alt='' src='data:image/png;base64,{content}'>"


def _picture(content: bytes) -> str:
    picture = Image.open(io.BytesIO(content))
    if picture.mode not in ("L", "RGB"):
        values = np.asarray(picture).astype(float)
        low, high = np.quantile(values, (0.005, 0.995))
        picture = Image.fromarray((255 * ((values - low) / max(high - low, 1e-9)).clip(0, 1)).astype(np.uint8))
    return _png(picture, smooth=True)


def _frames(film: np.ndarray) -> str:
    """Four frames of the clip, the first at the left above."""
    four = [film[i] for i in np.linspace(0, len(film) - 1, 4).round().astype(int)]
    return _png(np.concatenate([np.concatenate(four[:2], 1), np.concatenate(four[2:], 1)], 0), smooth=True)


def _points(cloud: np.ndarray) -> str:
    """From a little above and aside, near points dark."""
    x, y, z = (cloud - (cloud.min(0) + cloud.max(0)) / 2).T
    turn, tilt = math.radians(35), math.radians(20)
    across, away = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    up, depth = z * math.cos(tilt) + away * math.sin(tilt), away * math.cos(tilt) - z * math.sin(tilt)
    scale = (SIDE - 10) / max(np.ptp(across), np.ptp(up), 1e-9)
    columns, rows = (SIDE / 2 + scale * across).astype(int), (SIDE / 2 - scale * up).astype(int)
    shade = 40 + 170 * (depth - depth.min()) / max(np.ptp(depth), 1e-9)
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for i in np.argsort(-depth):
        canvas[rows[i] - 1 : rows[i] + 1, columns[i] - 1 : columns[i] + 1] = (
            shade[i],
            shade[i],
            min(255, shade[i] + 45),
        )
    return _png(canvas)


def _spectrogram(heard: tuple[np.ndarray, int]) -> str:
    """Loudness in dB, time to the right, low pitches below; a width for every length."""
    samples, rate = heard
    x = np.asarray(samples, dtype=np.float64)
    window, hop = max(16, rate // 40), max(4, rate // 200)
    x = np.pad(x, (0, max(0, window - len(x))))
    pieces = np.lib.stride_tricks.sliding_window_view(x, window)[::hop] * np.hanning(window)
    loud = 20 * np.log10(np.abs(np.fft.rfft(pieces)).T[::-1] + 1)
    share = ((loud - loud.max()) / 60 + 1).clip(0, 1)
    at = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(share, at, [stop[c] for stop in HEAT]) for c in range(3)], -1).astype(np.uint8)
    picture = Image.fromarray(heat).resize((SIDE, SIDE * 2 // 3), Image.Resampling.BILINEAR)
    return _png(picture) + f"<small>{len(samples) / rate:.2f} s</small>"


def _lines(groups: Sequence[np.ndarray]) -> str:
    """A panel a group, a line a channel."""
    height, shapes = SIDE * 2 // 3 / len(groups), []
    for panel, channels in enumerate(groups):
        low, high = float(np.nanmin(channels)), float(np.nanmax(channels))
        for ink, values in zip(INKS, channels, strict=False):
            x = np.linspace(3, SIDE - 3, len(values))
            y = height * (panel + 1) - 4 - (height - 8) * (values - low) / max(high - low, 1e-9)
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if math.isfinite(b))
            shapes.append(f"<polyline points='{points}' fill='none' stroke='{ink}' stroke-width='1.2'/>")
    return f"<svg width='{SIDE}' height='{height * len(groups):.0f}'>{''.join(shapes)}</svg>"


def _motion(table: Mapping[str, Any]) -> str:
    """The accelerometer above, the gyroscope below."""
    return _lines([np.stack([v for k, v in table.items() if k.startswith(word)]) for word in ("acc", "gyro")])


def _slices(block: np.ndarray) -> str:
    """The middle of the block across each axis, from -300 to 500 HU: seen from the feet, from the front, from aside."""
    middle = [n // 2 for n in block.shape]
    cuts = (block[middle[0]], block[::-1, middle[1]], block[::-1, :, middle[2]])
    grey = [(255 * ((np.asarray(cut, dtype=float) + 300) / 800).clip(0, 1)).astype(np.uint8) for cut in cuts]
    small = [_png(cut, height=SIDE // 3, width=SIDE // 2 - 2) for cut in grey[1:]]
    return f"{_png(grey[0], height=SIDE - 30)}<div class='pair'>{''.join(small)}</div>"


def _row(record: Mapping[str, Any]) -> str:
    def told(value: Any) -> str:
        return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    cells = (f"<tr><th>{escape(str(k))}</th><td>{escape(told(v))}</td></tr>" for k, v in record.items())
    return f"<table class='row'>{''.join(cells)}</table>"


def _graph(source: Mapping[str, Any]) -> str:
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(node["id"] for node in source["nodes"])
    graph.add_edges_from((link["source"], link["target"]) for link in source["links"])
    held = networkx.Graph(graph)  # pieces hang together while places are sought
    pieces = [next(iter(piece)) for piece in networkx.connected_components(graph)]
    held.add_edges_from(itertools.pairwise(pieces))
    place = networkx.spring_layout(held, iterations=300, seed=0)
    xy = np.array([place[node["id"]] for node in source["nodes"]])
    xy = (xy - xy.mean(0)) @ np.linalg.svd(xy - xy.mean(0), full_matrices=False)[2].T @ _TURN  # the long way: diagonal
    middle, span = (xy.max(0) + xy.min(0)) / 2, max(float(np.ptp(xy, axis=0).max()), 1e-9)
    xy = SIDE / 2 + (SIDE - 16) * (xy - middle) / span
    at = {node["id"]: point for node, point in zip(source["nodes"], xy, strict=True)}
    kinds = sorted({node["kind"] for node in source["nodes"]})
    radius = 3.4 if len(at) < 30 else 2.4
    shapes = [
        "<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' stroke='#999'/>".format(*at[a], *at[b])
        for a, b in graph.edges
    ]
    for node in source["nodes"]:
        (x, y), ink = at[node["id"]], INKS[int(node["kind"].split()[-1]) % len(INKS)]
        shapes.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius}' fill='{ink}'/>")
    told = f"{len(source['nodes'])} nodes, {len(kinds)} kinds"
    return f"<svg width='{SIDE}' height='{SIDE}'>{''.join(shapes)}</svg><small>{told}</small>"


def _bands(count: int) -> list[int]:
    return [int(share * (count - 1)) for share in (0.5, 0.25, 0.1)]


def _false_colours(cube: np.ndarray, tops: Mapping[int, np.ndarray]) -> str:
    """Three of the bands as red, green and blue, on the scale of all blocks with as many bands."""
    count = cube.shape[-1]
    shown = (cube[..., _bands(count)] / tops[count]).clip(0, 1) ** 0.6
    return _png((255 * shown).astype(np.uint8))
