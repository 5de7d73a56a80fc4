"""The embedded forecaster's checkpoints and model cards, from what its recipes measured.

    python recipes/forecaster_cards.py --protocol RUN --forecaster RUN [--weights DIR]

The RUNs are the folders that ``ett_forecasting.py`` and ``forecaster.py`` wrote. The encoder goes to
DIR/forecaster_ett, as float16; the linear map and the intervals to DIR/forecasting_ett. DIR is unimodal/weights by
default.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ett_forecasting import HORIZONS, LOOKBACK
from forecaster import LEVELS, WIDTH
from safetensors.torch import load_file

from unimodal.checkpoint import load_checkpoint, save
from unimodal.provenance import Provenance
from unimodal.recipes.itransformer import itransformer
from unimodal.task import save_task
from unimodal.tasks.forecasting import Forecasting

WEIGHTS = Path(__file__).parents[1] / "unimodal" / "weights"
DATA = (
    "ETTh1 and ETTh2 (Zhou et al. 2020), first 12 months of each (validation: 4 more); as much again made by formula"
    " (recipes/synthetic_series.py)"
)
LICENCE = "ETT: CC BY-ND 4.0"
COMMAND = "python recipes/forecaster.py --data ZIP --run DIR && python recipes/forecaster_cards.py ..."
LIMITS = (
    "Trained on hourly data of two power transformers and on formulas. It sees 96 steps and nothing before: of a longer"
    " season than that it knows nothing, and trends are damped. Intervals hold what they say on data like the"
    " validation months; elsewhere (another noise, other steps than hours) they may be too wide or too narrow: train"
    " the task on your own table (`unimodal train forecasting TABLE --out DIR`), which learns both anew."
)
# MSE, MAE: Liu et al. 2023, arXiv:2310.06625, table 10, look-back 96; Zeng et al.'s DLinear as that table gives it.
PUBLISHED = {
    "iTransformer": {
        "ETTh1": ((0.386, 0.405), (0.441, 0.436), (0.487, 0.458), (0.503, 0.491)),
        "ETTh2": ((0.297, 0.349), (0.380, 0.400), (0.428, 0.432), (0.427, 0.445)),
    },
    "DLinear": {
        "ETTh1": ((0.386, 0.400), (0.437, 0.432), (0.481, 0.459), (0.519, 0.516)),
        "ETTh2": ((0.333, 0.387), (0.477, 0.476), (0.594, 0.541), (0.831, 0.657)),
    },
}

TEXT = """# {name}

{what}

| | |
| --- | --- |
| Data | {data} |
| Licence of the data | {licence} |
| Command | `{command}` |
| Seed | {seed} |
| Steps | {steps:,} |
| Time | {minutes:.0f} minutes, {machine} |
| Trained parameters | {parameters:,} |

## Measured

{scores}

## Limits

{limits}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", type=Path, required=True)
    parser.add_argument("--forecaster", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--machine", default="one core of a shared AMD EPYC (AVX2), float32")
    options = parser.parse_args()
    protocol = json.loads((options.protocol / "result.json").read_text())
    measured = json.loads((options.forecaster / "result.json").read_text())
    trained, table = measured["trained"], comparison(protocol, measured)
    weights = load_file(options.forecaster / "trained.safetensors")
    about = {"data": DATA, "licence": LICENCE, "command": COMMAND, "limits": LIMITS}
    about |= {"seed": trained["seed"], "steps": trained["steps"], "spent_s": trained["spent_s"]}

    part = itransformer(dim=WIDTH, lookback=LOOKBACK)
    encoder: Any = part()
    encoder.load_state_dict({k[8:]: v for k, v in weights.items() if k.startswith("encoder.")})
    folder = options.weights / "forecaster_ett"
    scores = {name: {h: round(s["mse"], 4) for h, s in found.items()} for name, found in trained["scores"].items()}
    card = {"name": "forecaster_ett", "scores": {"test MSE with the task's head": scores}, **about}
    save(encoder, folder, part=part, provenance=Provenance({"": "trained"}), card=card, dtype=torch.float16)
    rounded: Any = load_checkpoint(folder)[0]

    module = Forecasting.build(rounded, horizons=HORIZONS, levels=LEVELS)
    module.head.load_state_dict({k[5:]: v for k, v in weights.items() if k.startswith("head.")})
    module.set_errors(weights["quantiles"])
    figures = {"scores": {**trained["scores"], "coverage": trained["coverage"]}}
    head = options.weights / "forecasting_ett"
    save_task(Forecasting(module), head, card={"name": "forecasting_ett", **figures, **about})

    for target, what, count in (
        (folder, ENCODER, sum(p.numel() for p in encoder.parameters())),
        (head, HEAD, sum(p.numel() for p in module.parameters() if p.requires_grad)),
    ):
        shutil.copyfile(options.forecaster / "trained" / "curve.jsonl", target / "curve.jsonl")
        text = json.dumps({"protocol": protocol, "forecaster": measured}, indent=1)
        (target / "measured.json").write_text(text + "\n")
        shown = table if target == head else f"See the card of `forecasting_ett`, its head.\n\n{coverage(trained)}"
        text = TEXT.format(
            name=target.name, what=what, scores=shown, minutes=trained["spent_s"] / 60, machine=options.machine,
            parameters=count, **about,
        )  # fmt: skip
        (target / "README.md").write_text(text)
    print(table)


def comparison(protocol: dict[str, Any], measured: dict[str, Any]) -> str:
    """Every model at every horizon, published figures beside ours."""
    seeds = sorted({key.split("/")[3] for key in protocol if "/itransformer/" in key})
    first, tables = seeds[0], []
    for name in ("ETTh1", "ETTh2"):
        rows: dict[str, Sequence[tuple[float, float]]]
        rows = {"iTransformer, published": PUBLISHED["iTransformer"][name]}
        for seed in seeds:
            keys = [f"{name}/itransformer/{h}/{seed}" for h in HORIZONS]
            if all(key in protocol for key in keys):
                rows[f"iTransformer, published protocol, ours (seed {seed})"] = [pair(protocol[key]) for key in keys]
        ours = {"trained": "**one model for all (ships)**", "ett": "control: one model for all, without formulas"}
        for stage, title in ours.items():
            if stage in measured:
                rows[title] = [pair(measured[stage]["scores"][name][str(h)]) for h in HORIZONS]
        rows["DLinear, published"] = PUBLISHED["DLinear"][name]
        for model, title in (("linear", "linear (DLinear), ours"), ("seasonal", "the same hour of the last day"),
                             ("naive", "the last value")):  # fmt: skip
            rows[title] = [pair(protocol[f"{name}/{model}/{h}/{first}"]) for h in HORIZONS]
        head = "".join(f" {h} |" for h in HORIZONS)
        cells = {title: "".join(f" {mse:.3f} / {mae:.3f} |" for mse, mae in row) for title, row in rows.items()}
        lines = [f"| {title} |{row}" for title, row in cells.items()]
        tables.append(f"| {name} |{head}\n| --- |{' --- |' * len(HORIZONS)}\n" + "\n".join(lines))
    intro = (
        "MSE / MAE on the standardised test months (12 / 4 / 4 months of 30 days, look-back 96), by horizon in hours,"
        " over every window. The rows of the published protocol are models of their own for each data set and horizon"
        " (`python recipes/ett_forecasting.py --data ZIP --run DIR`); published figures are from Liu et al. 2023,"
        " table 10."
    )
    return "\n\n".join([intro, *tables, coverage(measured["trained"])])


def coverage(trained: dict[str, Any]) -> str:
    """How many test values the intervals hold."""
    head = "".join(f" {h} |" for h in HORIZONS)
    lines = [
        f"| {name}, {level} interval |" + "".join(f" {shares[str(h)]:.1%} |" for h in HORIZONS)
        for name, levels in trained["coverage"].items()
        for level, shares in levels.items()
    ]
    table = f"| share of test values held, up to |{head}\n| --- |{' --- |' * len(HORIZONS)}\n" + "\n".join(lines)
    return f"Intervals come from the errors in the validation months, step by step.\n\n{table}"


def pair(found: dict[str, float]) -> tuple[float, float]:
    """MSE and MAE."""
    return found["mse"], found["mae"]


ENCODER = (
    "An iTransformer: each column's last 96 steps are one token, two post-norm blocks of width 256 let columns see one"
    " another. Frozen; the task `forecasting` has its head."
)
HEAD = (
    "A linear map from each column's token of the frozen encoder `forecaster_ett` to its next 720 steps, and quantiles"
    " of its errors for intervals of 80 % and 95 %. One model for every horizon, any table, any number of columns."
)


if __name__ == "__main__":
    main()
