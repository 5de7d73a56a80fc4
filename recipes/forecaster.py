"""The embedded forecaster: one iTransformer for every horizon up to 720, on ETT and on series made by formula.

    python recipes/forecaster.py --data ZIP --run DIR [--steps N] [--only ett]

ZIP is that of ``ett_forecasting.py``, whose borders, scaling and scores hold here too. One encoder (width 256, two
blocks) and one linear map to 720 steps learn from the training parts of ETTh1 and ETTh2, at every step or at every
second, third, fourth or sixth, and, in half of each batch, from :mod:`synthetic_series`, so that other periods than a
day of 24 steps are known too. The loss is the mean over the four horizons of the squared error up to each. The weights
of the step with the least error on the validation parts are kept. Then the quantiles of the validation errors, step by
step and in units of each window's own scale, become the intervals, and all is measured once on the test parts.

    trained    this one ships
    ett        control, where asked for: the same without synthetic series
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ett_forecasting import HORIZONS, LOOKBACK, Inverted, Table, read
from safetensors.torch import load_file, save_file
from synthetic_series import synthetic_series
from torch import Tensor

from unimodal.instance_scale import instance_scale
from unimodal.training import Progress, cosine, fit

WIDTH, BATCH, STEPS, RATE, SEED = 256, 64, 4000, 5e-4, 2023
LONGEST = max(HORIZONS)
STRIDES = (1, 1, 1, 1, 2, 3, 4, 6)
LEVELS = (0.8, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--only", nargs="+", default=["trained"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tables = {name: read(options.data, name) for name in ("ETTh1", "ETTh2")}
    for stage in options.only:
        torch.manual_seed(SEED)
        model = Inverted(WIDTH, LONGEST)
        spent_s = train(stage, model, tables, options.run / stage, options.steps)
        result = {"scores": {name: scores(model, table.part("test")) for name, table in tables.items()}}
        quantiles = residual_quantiles(model, [table.part("validation") for table in tables.values()])
        result["coverage"] = {name: coverage(model, table.part("test"), quantiles) for name, table in tables.items()}
        result |= {"steps": options.steps, "seed": SEED, "spent_s": round(spent_s, 1)}
        result["trained_parameters"] = sum(p.numel() for p in model.parameters())
        print(stage, json.dumps(result, indent=1), flush=True)
        save_file({**model.state_dict(), "quantiles": quantiles}, options.run / f"{stage}.safetensors")
        path = options.run / "result.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, stage: result}, indent=1) + "\n")


def train(stage: str, model: Inverted, tables: dict[str, Table], folder: Path, steps: int) -> float:
    """Train; the model ends with its best weights. Returns the seconds spent."""
    parts = [table.part("train") for table in tables.values()]
    checked = [table.part("validation") for table in tables.values()]
    step_weights = sum((torch.arange(LONGEST) < h) / h for h in HORIZONS) / len(HORIZONS)
    best = folder / "best.safetensors"

    def loss(step: int) -> Tensor:
        """Real windows, then as many synthetic ones."""
        real = BATCH if stage == "ett" else BATCH // 2
        past, stamps, future, known = (torch.cat(x) for x in zip(*(drawn(p, real // 2) for p in parts), strict=True))
        forecast = model(past, stamps[:, : 4 * int(torch.rand(()) < 0.7)])
        total = (((forecast - future) * known).square() * step_weights).sum(-1).mean()
        if stage == "ett":
            return total
        columns = int(torch.randint(1, 10, ()))
        window = synthetic_series(BATCH // 2, columns, LOOKBACK + LONGEST)
        past, future = window.split([LOOKBACK, LONGEST], -1)
        forecast = model(past, past[:, :0])
        return total + ((forecast - future).square() * step_weights).sum(-1).mean()

    def evaluate() -> dict[str, float]:
        each = [scores(model, part, every=6) for part in checked]
        found = {f"validation_{h}": sum(one[str(h)]["mse"] for one in each) / len(each) for h in HORIZONS}
        mean = sum(found.values()) / len(found)
        lines = (folder / "curve.jsonl").read_text().splitlines() if best.exists() else []
        earlier = [line["validation"] for line in map(json.loads, lines) if "validation" in line]
        if mean < min(earlier, default=float("inf")):
            save_file(model.state_dict(), best)
        return {"validation": mean, **found}

    def report(progress: Progress) -> None:
        print(f"{stage}: {progress}", flush=True)

    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    spent_s = fit(
        model, loss, lambda step: step, [optimizer], steps=steps, folder=folder, schedule=cosine(0.02), seed=SEED,
        report=report, report_every=200, evaluate=evaluate, evaluate_every=max(1, steps // 12),
    )  # fmt: skip
    model.load_state_dict(load_file(best))
    model.eval()
    return spent_s


def drawn(part: Table, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random windows of every first to sixth row: past, stamps, future and which of its steps the part has."""
    rows = len(part.values)
    stride = torch.tensor(STRIDES)[torch.randint(len(STRIDES), (count, 1))]
    starts = (torch.rand(count, 1) * (rows - (LOOKBACK + HORIZONS[0]) * stride)).long()
    at = starts + stride * torch.arange(LOOKBACK + LONGEST)
    known = (at < rows)[:, None, LOOKBACK:]
    values_BCT = part.values[at.clamp_max(rows - 1)].mT
    past, future = values_BCT.split([LOOKBACK, LONGEST], -1)
    return past, part.stamps[at[:, :LOOKBACK]].mT, future, known


def forecasts(model: Inverted, part: Table, see: Callable[[Tensor, Tensor, Tensor], Any], *, every: int = 1) -> None:
    """Show ``see`` every ``every``-th window that has the shortest horizon: forecast, future (NaN behind), scale."""
    values = torch.cat([part.values, torch.full((LONGEST - HORIZONS[0], part.values.shape[1]), float("nan"))])
    longer = Table(values, part.stamps)
    with torch.inference_mode():
        for starts in torch.arange(0, part.windows(HORIZONS[0]), every).split(128):
            past, stamps, future = longer.window(starts, LONGEST)
            see(model(past, stamps), future, instance_scale(past)[1])


def scores(model: Inverted, part: Table, *, every: int = 1) -> dict[str, dict[str, float]]:
    """Mean squared and absolute error at each horizon, over the windows that have it."""
    sums = {h: torch.zeros(3, dtype=torch.float64) for h in HORIZONS}

    def see(forecast: Tensor, future: Tensor, scale: Tensor) -> None:
        for h in HORIZONS:
            gap = (forecast - future)[..., :h].double()
            gap = gap[gap.isfinite().all(-1).all(-1)]
            sums[h] += torch.stack([gap.square().sum(), gap.abs().sum(), torch.tensor(gap.numel())])

    forecasts(model, part, see, every=every)
    return {str(h): {"mse": (s / n).item(), "mae": (a / n).item()} for h, (s, a, n) in sums.items()}


def residual_quantiles(model: Inverted, parts: list[Table]) -> Tensor:
    """(2 x levels, S) quantiles of the errors in units of the window's scale, rising: split conformal, step by step."""
    kept: list[Tensor] = []
    for part in parts:
        forecasts(model, part, lambda f, y, scale: kept.append(((y - f) / scale).flatten(0, 1)))
    error_ES = torch.cat(kept)
    sides = sorted([(1 - level) / 2 for level in LEVELS] + [(1 + level) / 2 for level in LEVELS])
    return torch.stack([torch.nanquantile(column, torch.tensor(sides)) for column in error_ES.mT], 1)


def coverage(model: Inverted, part: Table, quantiles: Tensor) -> dict[str, dict[str, float]]:
    """The share of values within each interval, up to each horizon."""
    counts = torch.zeros(len(LEVELS), LONGEST, 2)

    def see(forecast: Tensor, future: Tensor, scale: Tensor) -> None:
        error, known = (future - forecast) / scale, future.isfinite()
        for i in range(len(LEVELS)):
            place = len(LEVELS) - 1 - i  # the widest interval has the outermost quantiles
            inside = (error >= quantiles[place]) & (error <= quantiles[-1 - place])
            counts[i] += torch.stack([(inside & known).sum((0, 1)), known.sum((0, 1))], -1)

    forecasts(model, part, see)
    found = {}
    for i, level in enumerate(LEVELS):
        inside, known = counts[i].cumsum(0).unbind(-1)
        found[f"{level:.0%}"] = {str(h): (inside[h - 1] / known[h - 1]).item() for h in HORIZONS}
    return found


if __name__ == "__main__":
    main()
