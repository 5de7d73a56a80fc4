"""Model cards: README.md beside each embedded checkpoint, from what the recipes measured.

    python recipes/model_cards.py --encoder RUN --classification RUN --segmentation RUN

Each RUN is the folder that the recipe wrote; checkpoints are copied from it into unimodal/weights/.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parents[1] / "unimodal" / "weights"

TEXT = """# {name}

{what}

| | |
| --- | --- |
| Data | {data} |
| Licence of the data | {licence} |
| Command | `{command}` |
| Seed | {seed} |
| Steps | {steps:,} |
| Time | {time}, {machine} |
| Trained parameters | {parameters:,} |

## Measured

{scores}

## Limits

{notes}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("encoder", "classification", "segmentation"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--machine", default="one core of a shared AMD EPYC, float32")
    options = parser.parse_args()
    runs = {name: json.loads((getattr(options, name) / "result.json").read_text())
            for name in ("encoder", "classification", "segmentation")}  # fmt: skip
    for name, folder, scores, notes, what in (
        ("encoder", "small_image_encoder", encoder_scores(runs), ENCODER_NOTES, ENCODER_WHAT),
        ("classification", "classification_cifar10", classification_scores(runs), CLASSIFICATION_NOTES, HEAD_WHAT),
        ("segmentation", "segmentation_camvid", segmentation_scores(runs), SEGMENTATION_NOTES, DENSE_WHAT),
    ):
        source, target = getattr(options, name) / folder, WEIGHTS / folder
        target.mkdir(parents=True, exist_ok=True)
        for file in source.glob("*"):
            shutil.copyfile(file, target / file.name)
        run = getattr(options, name)
        shutil.copyfile(run / "result.json", target / "measured.json")
        shutil.copyfile(run / ("" if name == "encoder" else "trained") / "curve.jsonl", target / "curve.jsonl")
        settings = json.loads(next(target.glob("[ct]*.json")).read_text())
        card, trained = settings["card"], runs[name]["trained"]
        text = TEXT.format(what=what, scores=scores, notes=notes, time=duration(trained["spent_s"]),
                           machine=options.machine, parameters=trained["trained_parameters"], **{k: card[k] for k in
                           ("name", "data", "licence", "command", "seed", "steps")})  # fmt: skip
        (target / "README.md").write_text(text)


def duration(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.1f} seconds"


def encoder_scores(runs: dict[str, Any]) -> str:
    """The encoder's own table."""
    top1 = runs["encoder"]["trained"]["top1"]
    return f"Top-1 on the CIFAR-10 test split with the linear head of its training: **{top1:.1%}**."


def classification_scores(runs: dict[str, Any]) -> str:
    """The classifier beside its controls."""
    names = {
        "trained": "**frozen encoder + linear head (ships)**",
        "random": "control: frozen random encoder + linear head",
        "scratch": "control: encoder and head from scratch, equal steps",
        "baselines": "baseline: linear on pixels, equal steps",
    }
    run = runs["classification"]
    rows = "\n".join(f"| {text} | {run[key]['top1']:.1%} |" for key, text in names.items() if key in run)
    return "CIFAR-10 test split, top-1.\n\n| | top-1 |\n| --- | --- |\n" + rows


def segmentation_scores(runs: dict[str, Any]) -> str:
    """The segmentation head beside its controls."""
    run = runs["segmentation"]
    rows = {
        "**frozen encoder + dense head (ships)**": run["trained"],
        "control: frozen random encoder + dense head": run.get("random"),
        "control: encoder and head from scratch, equal steps": run.get("scratch"),
        "baseline: linear on colour and place": run["baselines"]["linear"],
        "baseline: position prior": run["baselines"]["position_prior"],
    }
    lines = "\n".join(f"| {k} | {v['mean_iou']:.1%} | {v['pixel_accuracy']:.1%} |" for k, v in rows.items() if v)
    classes = "\n".join(f"| {name} | {iou:.1%} |" for name, iou in run["trained"]["iou"].items())
    table = "CamVid test split (233 pictures, 11 classes) at full resolution.\n\n| | mean IoU | pixel accuracy |\n"
    return f"{table}| --- | --- | --- |\n{lines}\n\n| class | IoU |\n| --- | --- |\n{classes}"


ENCODER_WHAT = (
    "The shared image encoder: a convolution stem of stride 4 and four transformer blocks of width 128, trained with"
    " labels on small pictures and then frozen for every task."
)
ENCODER_NOTES = (
    "Pictures are shrunk to 32 x 32 px, so it knows shapes and colours at that scale and nothing finer. It was trained"
    " on ten classes; its features are not those of a model trained on millions of pictures. No person's data was"
    " selected for; biases of the photo collection are unknown."
)
HEAD_WHAT = "A linear head over ten classes on the frozen shared encoder."
CLASSIFICATION_NOTES = (
    "It answers with one of ten classes whatever it is shown, and cannot say that it does not know. A photograph is"
    " cropped to its middle square and shrunk to 32 x 32 px first. The encoder's data have licences of their own: see"
    " the card of small_multimodal_encoder."
)
DENSE_WHAT = "A dense head over eleven street-scene classes on windows of the frozen shared encoder's lattice."
SEGMENTATION_NOTES = (
    "Trained on views from one car in one city, in daylight and dusk. It knows no indoor scenes and has learned where"
    " things usually are in such a view; elsewhere its labels mean little. Thin things (poles, signs) are"
    " mostly missed. The data's licence allows research and personal use only, and so these weights should be used."
    " The encoder's data have licences of their own: see the card of small_multimodal_encoder."
)


if __name__ == "__main__":
    main()
