"""iTransformer on ETTh1 and ETTh2 by the published protocol, beside its baselines.

    python recipes/ett_forecasting.py --data ZIP --run DIR [--sets ETTh1 ETTh2] [--models ...] [--seeds 2023]

ZIP holds ETTh1.csv and ETTh2.csv as Zhou et al. 2020 publish them. Protocol (Liu et al. 2023, arXiv:2310.06625,
appendix A, and its scripts): 12, 4 and 4 months of 30 days for training, validation and test; every column scaled by
the mean and standard deviation of its training part; look-back 96; Adam at 1e-4 (the linear baseline at its authors'
5e-3 on ETTh1 and 5e-2 on ETTh2), halved after every epoch; batches of 32; at most 10 epochs, ended when the validation
loss has not fallen for 3; the weights of the best epoch. Scores are means over all windows of the test part (the
published code tests windows one at a time, so its ``drop_last`` drops none of them), in scaled units.

    naive        the last value
    seasonal     the value of the same hour of the last day seen
    linear       DLinear (Zeng et al. 2022, arXiv:2205.13504): trend (mean over 25) and rest, a linear map each
    itransformer the recipe ``itransformer`` in the published sizes

Every trained model has the same windows, batches, optimiser and rule to stop. DIR/result.json gets the scores.
"""

import argparse
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from unimodal.instance_scale import instance_scale
from unimodal.reading.delimited import numbers, read_delimited
from unimodal.recipes.itransformer import itransformer
from unimodal.sample import Batch
from unimodal.time_features import time_features
from unimodal.training import Progress, fit, shuffled

LOOKBACK, BATCH, EPOCHS, PATIENCE = 96, 32, 10, 3
HORIZONS = (96, 192, 336, 720)
MONTH = 30 * 24
BORDERS = {"train": (0, 12 * MONTH), "validation": (12 * MONTH - LOOKBACK, 16 * MONTH)}
BORDERS["test"] = (16 * MONTH - LOOKBACK, 20 * MONTH)
WIDTHS = {"ETTh1": {96: 256, 192: 256, 336: 512, 720: 512}, "ETTh2": dict.fromkeys(HORIZONS, 128)}
RATES = {"itransformer": {"ETTh1": 1e-4, "ETTh2": 1e-4}, "linear": {"ETTh1": 5e-3, "ETTh2": 5e-2}}
MODELS = ("naive", "seasonal", "linear", "itransformer")


@dataclass(frozen=True)
class Table:
    """A data set: values (T, C) scaled, time features (T, M)."""

    values: Tensor
    stamps: Tensor

    def part(self, name: str) -> "Table":
        """The rows of train, validation or test."""
        begin, end = BORDERS[name]
        return Table(self.values[begin:end], self.stamps[begin:end])

    def windows(self, horizon: int) -> int:
        """How many windows there are, one a row."""
        return len(self.values) - LOOKBACK - horizon + 1

    def window(self, starts: Tensor, horizon: int) -> tuple[Tensor, Tensor, Tensor]:
        """Past (B, C, L), its time features (B, M, L), future (B, C, S)."""
        past, future = starts[:, None] + torch.arange(LOOKBACK), starts[:, None] + torch.arange(horizon) + LOOKBACK
        return self.values[past].mT, self.stamps[past].mT, self.values[future].mT


class Inverted(nn.Module):
    """The recipe ``itransformer`` under a linear map to the horizon, between instance scaling and its inverse."""

    def __init__(self, width: int, horizon: int) -> None:
        super().__init__()
        self.encoder: Any = itransformer(dim=width, lookback=LOOKBACK)()
        self.head = nn.Linear(width, horizon)

    def forward(self, past_BCL: Tensor, stamps_BML: Tensor) -> Tensor:
        mean, scale = instance_scale(past_BCL)
        tokens = self.encoder(Batch("variates", torch.cat([(past_BCL - mean) / scale, stamps_BML], 1)))
        return self.head(tokens.x[:, : past_BCL.shape[1]]) * scale + mean


class Linear(nn.Module):
    """y = W_t trend(x) + W_r (x - trend(x)), trend the mean over 25 steps with the ends held, W shared by columns."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.trend, self.rest = nn.Linear(LOOKBACK, horizon), nn.Linear(LOOKBACK, horizon)
        for layer in (self.trend, self.rest):
            nn.init.constant_(layer.weight, 1 / LOOKBACK)

    def forward(self, past_BCL: Tensor, stamps_BML: Tensor) -> Tensor:
        trend = F.avg_pool1d(F.pad(past_BCL, (12, 12), mode="replicate"), 25, stride=1)
        return self.trend(trend) + self.rest(past_BCL - trend)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["ETTh1", "ETTh2"])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--horizons", nargs="+", type=int, default=list(HORIZONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[2023])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.run.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.sets:
            table = read(options.data, name)
            for model in options.models:
                for horizon in options.horizons:
                    key = f"{name}/{model}/{horizon}/{seed}"
                    if key in results(options.run):
                        continue
                    found = run(table, name, model, horizon, seed, options.run / key.replace("/", "_"))
                    print(key, found, flush=True)
                    note(options.run, key, found)


def read(data: Path, name: str) -> Table:
    """A data set, scaled by its training part."""
    with zipfile.ZipFile(data) as archive:
        columns = read_delimited(archive.read(f"{name}.csv"))
    found = [numbers(words, decimal_comma=columns.decimal_comma) for words in columns.words[1:]]
    values = np.stack([column for column in found if column is not None], 1)
    train = values[slice(*BORDERS["train"])]
    values = (values - train.mean(0)) / train.std(0)
    stamps = time_features(np.array(columns.words[0], dtype="datetime64[s]")).T
    return Table(torch.from_numpy(values).float(), torch.from_numpy(stamps).float())


def run(table: Table, name: str, model: str, horizon: int, seed: int, folder: Path) -> dict[str, Any]:
    """One model at one horizon: its test scores, and what it took to train it."""
    if model == "naive":
        return scores(lambda past, stamps: past[..., -1:].expand(-1, -1, horizon), table, horizon)
    if model == "seasonal":
        hours = torch.arange(horizon) % 24
        return scores(lambda past, stamps: past[..., -24:][..., hours], table, horizon)
    torch.manual_seed(seed)
    module = Linear(horizon) if model == "linear" else Inverted(WIDTHS[name][horizon], horizon)
    took = train(module, table, horizon, seed, folder, RATES[model][name])
    return {**scores(module, table, horizon), **took}


def train(module: nn.Module, table: Table, horizon: int, seed: int, folder: Path, rate: float) -> dict[str, Any]:
    """Train by the protocol; the module ends with the weights of its best epoch."""
    begun, known = time.monotonic(), table.part("train")
    checked = table.part("validation")
    draw = shuffled(known.windows(horizon), BATCH, seed)
    epoch_steps = known.windows(horizon) // BATCH

    def loss(starts: Tensor) -> Tensor:
        past, stamps, future = known.window(starts, horizon)
        return F.mse_loss(module(past, stamps), future)

    def evaluate() -> dict[str, float]:
        epoch = len(curve(folder)) + 1
        save_file(module.state_dict(), folder / f"epoch_{epoch}.safetensors")
        return {"epoch": epoch, "validation": scores_of(module, checked, horizon)["mse"]}

    def report(progress: Progress) -> None:
        print(f"{folder.name}: {progress}", flush=True)
        if progress.measured and stale(folder) >= PATIENCE:
            raise Enough

    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    with suppress(Enough):
        fit(
            module, loss, draw, [optimizer], steps=EPOCHS * epoch_steps, folder=folder, seed=seed, clip=None,
            schedule=lambda progress: 0.5 ** int(progress * EPOCHS + 1e-9), report=report,
            report_every=10**9, evaluate=evaluate, evaluate_every=epoch_steps,
        )  # fmt: skip
    found = curve(folder)
    best = min(range(len(found)), key=lambda epoch: found[epoch]["validation"]) + 1
    module.load_state_dict(load_file(folder / f"epoch_{best}.safetensors"))
    module.eval()
    about = {"epochs": len(found), "best_epoch": best, "steps": len(found) * epoch_steps}
    size = sum(p.numel() for p in module.parameters())
    return {**about, "parameters": size, "seed": seed, "spent_s": round(time.monotonic() - begun, 1)}


class Enough(Exception):
    """The validation loss has not fallen for as long as patience goes."""


def curve(folder: Path) -> list[dict[str, float]]:
    """The epochs measured so far."""
    path = folder / "curve.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def stale(folder: Path) -> int:
    """Epochs since the best one."""
    losses = [epoch["validation"] for epoch in curve(folder)]
    return len(losses) - 1 - losses.index(min(losses))


def scores(forecast: Callable[[Tensor, Tensor], Tensor], table: Table, horizon: int) -> dict[str, Any]:
    """Mean squared and absolute error on the test part."""
    return scores_of(forecast, table.part("test"), horizon)


def scores_of(forecast: Callable[[Tensor, Tensor], Tensor], part: Table, horizon: int) -> dict[str, Any]:
    """Mean squared and absolute error over all windows of a part."""
    squared = absolute = 0.0
    count = part.windows(horizon)
    with torch.inference_mode():
        for starts in torch.arange(count).split(256):
            past, stamps, future = part.window(starts, horizon)
            gap = forecast(past, stamps) - future
            squared += gap.double().square().mean((1, 2)).sum().item()
            absolute += gap.double().abs().mean((1, 2)).sum().item()
    return {"mse": squared / count, "mae": absolute / count, "windows": count}


def results(run: Path) -> dict[str, Any]:
    """What was measured before."""
    path = run / "result.json"
    return json.loads(path.read_text()) if path.exists() else {}


def note(run: Path, key: str, found: dict[str, Any]) -> None:
    """Keep what was measured."""
    (run / "result.json").write_text(json.dumps({**results(run), key: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
