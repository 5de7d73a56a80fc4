"""The embedded image encoder: a small conv-stem vision transformer trained on CIFAR-10, then frozen for every task.

    python recipes/cifar10_encoder.py --data DIR --run DIR

Writes RUN/small_image_encoder (the checkpoint that ships), RUN/curve.jsonl and RUN/result.json; an interrupted run
goes on. DIR (data) holds cifar10_train.parquet and cifar10_test.parquet with the columns image (encoded bytes) and
label.
Top-1 is that of the linear head it was trained with, on the official test split.
"""

import argparse
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image as PillowImage
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from unimodal.checkpoint import save
from unimodal.provenance import Provenance
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.sample import Batch
from unimodal.training import Progress, cosine, fit, shuffled

EPOCHS, SMALL_EPOCHS, BATCH, SEED = 7, 5, 128, 0


def read(path: Path) -> tuple[Tensor, Tensor]:
    """All images as uint8 (items, 3, 32, 32) and their labels."""
    table = pq.read_table(path, columns=["image", "label"])
    images = [pil_to_tensor(PillowImage.open(io.BytesIO(b)).convert("RGB")) for b in table["image"].to_pylist()]
    return torch.stack(images), torch.tensor(table["label"].to_pylist())


def augmented(images: Tensor, size: int) -> Tensor:
    """Mirrored half of the time, shifted by up to 3 px with reflected borders, then scaled to ``size`` px, uint8."""
    flip = torch.rand(len(images)) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    padded = F.pad(images.float(), (3, 3, 3, 3), mode="reflect")
    y, x = torch.randint(0, 7, (2, len(images), 1))
    rows, columns = y + torch.arange(32), x + torch.arange(32)
    shifted = padded[torch.arange(len(images))[:, None, None, None], torch.arange(3)[:, None, None],
                     rows[:, None, :, None], columns[:, None, None, :]]  # fmt: skip
    scaled = shifted if size == 32 else F.interpolate(shifted, size=(size, size), mode="area")
    return scaled.round().to(torch.uint8)


class Classifier(nn.Module):
    """The encoder under a linear head that is thrown away after pre-training."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = small_image_encoder()()
        self.head = nn.Linear(self.encoder.dim, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.encoder.embed(Batch("image", pixels)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    images, labels = read(options.data / "cifar10_train.parquet")
    test_images, test_labels = read(options.data / "cifar10_test.parquet")
    model = Classifier()
    order = shuffled(len(images), BATCH, SEED)
    epoch = len(images) // BATCH

    def batch(step: int) -> tuple[Tensor, Tensor]:
        chosen = order(step)
        size = 24 if step < SMALL_EPOCHS * epoch else 32
        return augmented(images[chosen], size), labels[chosen]

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.1)

    def accuracy(count: int = 10_000) -> dict[str, float]:
        chunks = zip(test_images[:count].split(500), test_labels[:count].split(500), strict=True)
        right = sum((model(x).argmax(-1) == y).sum().item() for x, y in chunks)
        return {"top1": right / count}

    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizers = [torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))]

    def report(progress: Progress) -> None:
        print(progress, flush=True)

    spent_s = fit(
        model, loss, batch, optimizers, steps=EPOCHS * epoch, folder=options.run, schedule=cosine(0.1), seed=SEED,
        report=report, evaluate=accuracy, evaluate_every=epoch,
    )  # fmt: skip
    with torch.no_grad():
        result = {
            **accuracy(),
            "spent_s": spent_s,
            "steps": EPOCHS * epoch,
            "trained_parameters": sum(p.numel() for p in model.parameters()),
        }
    curve = [json.loads(line) for line in (options.run / "curve.jsonl").read_text().splitlines()]
    first = next(point for point in curve if "top1" in point)
    measured = {"trained": result, "after_an_epoch": {"steps": first["step"], "top1": first["top1"]}}
    (options.run / "result.json").write_text(json.dumps(measured, indent=1))
    card = {
        "name": "small_image_encoder",
        "data": "CIFAR-10 (50,000 training pictures of 32 x 32 px, as JPEG)",
        "licence": "CIFAR-10 has no formal licence; attribution is asked (Krizhevsky 2009)",
        "command": "python recipes/cifar10_encoder.py --data DIR --run DIR",
        "seed": SEED,
        **result,
    }
    provenance = Provenance({"": "trained"}, "recipes/cifar10_encoder.py on CIFAR-10")
    save(model.encoder, options.run / card["name"], part=small_image_encoder(), provenance=provenance, card=card)
    print(result)


if __name__ == "__main__":
    main()
