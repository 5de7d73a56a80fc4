"""Write docs/resolution.md and its plot: accuracy against test resolution, from benchmarks/results/.

    python docs/make_resolution.py

Nothing is measured (benchmarks/resformer.py does), and nothing of the project is imported.
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["page", "plot"]

ROOT = Path(__file__).resolve().parent.parent
PAGE, PLOT = ROOT / "docs" / "resolution.md", ROOT / "docs" / "images" / "resolution.svg"

OURS, ONE = "three sizes", "one size, interpolated table"
PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "beside a single size",
        (
            (OURS, "#1f5fa8"),
            ("three sizes, interpolated table", "#1b9e77"),
            ("one size, interpolated table, as many tokens", "#d95f02"),
            (ONE, "#8c510a"),
            ("one size, resformer's positions", "#999999"),
        ),
    ),
    (
        "without each idea",
        (
            (OURS, "#1f5fa8"),
            ("without consistency", "#7570b3"),
            ("without global positions", "#e7298a"),
            ("without local positions", "#66a61e"),
            ("two of the three a step", "#e6ab02"),
        ),
    ),
)
WIDTH, HEIGHT, LEFT, TOP, BETWEEN, KEY = 380, 250, 46, 34, 62, 17  # px: a panel, its margins, a line of the key


def newest(root: Path = ROOT) -> list[dict[str, Any]]:
    """The rows of the newest result of any machine.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted((root / "benchmarks" / "results").glob("*/*-resformer.json"), key=lambda path: path.name)
    if not found:
        raise FileNotFoundError("no result of resformer; make one: python -m benchmarks.resformer --save")
    return json.loads(found[-1].read_text(encoding="utf-8"))


def read(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, list[float]]]:
    """Of each candidate, by size, the accuracy with each seed."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        for size, share in row["accuracy"].items():
            found.setdefault(row["candidate"], {}).setdefault(int(size), []).append(share)
    return found


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    found, first = read(rows), rows[0]
    sizes = list(next(iter(found.values())))
    mean = {name: {size: statistics.mean(shares) for size, shares in own.items()} for name, own in found.items()}
    unseen = [size for size in sizes if size not in first["trained_px"]]
    seeds = len({row["seed"] for row in rows})
    lines = [HEAD.format(digits=first["digits"], trained=_words(first["trained_px"]), steps=first["steps"])]
    lines += [
        _line(("candidate", "seeds", "steps", *(f"{size} px" for size in sizes))),
        _line("---" for _ in range(len(sizes) + 3)),
    ]
    steps = {row["candidate"]: row["steps"] for row in rows}
    for name, own in found.items():
        shown = (f"{mean[name][size]:.1f}{_range(own[size])}" for size in sizes)
        lines.append(_line((name, str(len(own[sizes[0]])), str(steps[name]), *shown)))
    lines += ["", "At sizes that none was trained at, in points above or below three sizes (means over seeds):", ""]
    lines += [_line(("candidate", *(f"{size} px" for size in unseen))), _line("---" for _ in range(len(unseen) + 1))]
    for name in mean:
        if name != OURS:
            lines.append(_line((name, *(f"{mean[name][size] - mean[OURS][size]:+.1f}" for size in unseen))))
    about = f"Measured on {first['cpu']}, {first['date']}, commit {first['commit']}, torch {first['versions']['torch']}"
    return "\n".join([*lines, "", f"{about}: `python -m benchmarks.resformer --seeds {seeds} --save`.", ""])


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """The plot as SVG: lines are means, bars reach from the lowest seed to the highest."""
    found, trained = read(rows), rows[0]["trained_px"]
    longest = max(len(lines) for _, lines in PANELS)
    total = (
        len(PANELS) * (LEFT + WIDTH) + (len(PANELS) - 1) * (BETWEEN - LEFT) + 14,
        TOP + HEIGHT + 44 + KEY * longest,
    )
    shapes = list(_panels(found, trained))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total[0]}" height="{total[1]}" '
        f'viewBox="0 0 {total[0]} {total[1]}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _panels(found: Mapping[str, Mapping[int, Sequence[float]]], trained: Sequence[int]) -> Iterator[str]:
    sizes = list(next(iter(found.values())))
    for number, (title, lines) in enumerate(PANELS):
        left = LEFT + number * (WIDTH + BETWEEN)

        def x(size: float, left: int = left) -> float:
            return left + WIDTH * (size - sizes[0] + 2) / (sizes[-1] - sizes[0] + 4)

        def y(share: float) -> float:
            return TOP + HEIGHT * (1 - share / 100)

        yield f'<text x="{left}" y="{TOP - 12}" font-size="14" font-weight="bold">Accuracy (%) {title}</text>'
        for share in range(0, 101, 20):
            yield f'<path d="M{left} {y(share):.1f}h{WIDTH}" stroke="#e3e3e3"/>'
            yield f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end" fill="#555555">{share}</text>'
        for size in sizes:
            dash = "" if size in trained else ' stroke-dasharray="2 4"'
            yield f'<path d="M{x(size):.1f} {TOP}v{HEIGHT}" stroke="#c9c9c9"{dash}/>'
            yield f'<text x="{x(size):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle" fill="#555555">{size}</text>'
        under = "test resolution (px); solid: the three sizes of training"
        yield f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 33}" text-anchor="middle" fill="#555555">{under}</text>'
        for place, (name, ink) in enumerate(line for line in lines if line[0] in found):
            own = found[name]
            points = " ".join(f"{x(size):.1f},{y(statistics.mean(own[size])):.1f}" for size in sizes)
            bars = "".join(f"M{x(size):.1f} {y(max(own[size])):.1f}V{y(min(own[size])):.1f}" for size in sizes)
            wide = 2.6 if name == OURS else 1.6
            yield f'<path d="{bars}" stroke="{ink}" stroke-width="1" opacity="0.6"/>'
            yield f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="{wide}"/>'
            base = TOP + HEIGHT + 52 + KEY * place
            yield f'<path d="M{left} {base - 4}h22" stroke="{ink}" stroke-width="{wide}"/>'
            yield f'<text x="{left + 28}" y="{base}" fill="#222222">{name}</text>'


HEAD = """\
# Resolution

Generated by `python docs/make_resolution.py` from the newest result of `benchmarks/resformer.py`; a test fails while
this page is stale.

ResFormer (Tian et al. 2023, arXiv:2212.00776) shows each picture at several sizes in one step, lets each size learn
from the next larger one, and takes positions from convolutions instead of a table. Here a small transformer reads
{digits} handwritten test digits at sizes from 12 to 48 px, patches of 4 px. "Three sizes" was trained at {trained},
"one size" at 24 px with a learned table that is interpolated. {steps} steps of 16 digits each; a step at three sizes
costs the sum of the three, so there is also a single size that was trained for as many tokens.

![Accuracy against test resolution](images/resolution.svg)

Percent of digits that are read rightly: mean over seeds, lowest and highest in brackets.
"""


def _words(sizes: Sequence[int]) -> str:
    return f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]} px"


def _range(shares: Sequence[float]) -> str:
    return f" ({min(shares):.1f} - {max(shares):.1f})" if len(shares) > 1 else ""


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(newest()), encoding="utf-8")
    PLOT.write_text(plot(newest()), encoding="utf-8")
