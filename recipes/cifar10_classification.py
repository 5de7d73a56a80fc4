"""The embedded classifier: a linear head for CIFAR-10 on the frozen shared encoder, beside its controls.

    python recipes/cifar10_classification.py --data DIR --run DIR [--only trained random scratch baselines]

DIR (data) holds cifar10_train.parquet and cifar10_test.parquet with the columns image (encoded bytes) and label.

    trained    the frozen embedded encoder under a linear head; this one ships
    random     the encoder as its constructor left it, frozen, under the same head
    scratch    encoder and head trained together from the same random start, for as many steps as the head
    baselines  a linear classifier on the pixels

Every stage has the same steps, batches and seed. Top-1 on the official test split, in RUN/result.json.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from cifar10_encoder import augmented, read
from safetensors.torch import load_file, save_file
from torch import Tensor

from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.sample import Batch
from unimodal.task import save_task
from unimodal.tasks.classification import Classification
from unimodal.training import Progress, cosine, fit, shuffled

STEPS, BATCH, SEED = 400, 128, 0
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--encoder", default="unimodal:small_multimodal_encoder")
    parser.add_argument("--only", nargs="+", default=["trained", "random", "scratch", "baselines"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, labels = read(options.data / "cifar10_train.parquet")
    test_images, test_labels = read(options.data / "cifar10_test.parquet")
    for stage in options.only:
        torch.manual_seed(SEED)
        encoder: Any = small_image_encoder()()
        if stage == "trained":
            from unimodal.pretrained import load

            encoder = load(options.encoder)
        torch.manual_seed(SEED)
        module = Classification.build(encoder, classes=CLASSES)
        if stage == "baselines":
            linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
            flat = torch.cat([pixels.float() / 127.5 - 1 for pixels in images.split(1000)])
            result = train(stage, linear, linear, flat, labels, options.run)
            result["top1"] = accuracy(
                lambda pixels, linear=linear: linear(pixels.float() / 127.5 - 1), test_images, test_labels
            )
        elif stage == "scratch":
            model = nn.ModuleDict({"encoder": module.encoder.requires_grad_(True), "head": module.head})
            result = train(stage, model, through(module), images, labels, options.run, augment=True)
            module.encoder.eval()
            result["top1"] = accuracy(through(module), test_images, test_labels)
        else:
            features = embedded(stage, encoder, images, options.run / stage)
            mean, scale = features.mean(0), features.std(0) + 1e-6
            result = train(stage, module.head, module.head, (features - mean) / scale, labels, options.run)
            fold(module.head, mean, scale)
            result["top1"] = accuracy(through(module), test_images, test_labels)
        print(stage, result, flush=True)
        if stage == "trained":
            card = {
                "name": "classification_cifar10",
                "data": "CIFAR-10 (50,000 training pictures of 32 x 32 px, as JPEG)",
                "licence": "CIFAR-10 has no formal licence; attribution is asked (Krizhevsky 2009)",
                "command": "python recipes/cifar10_classification.py --data DIR --run DIR",
                "seed": SEED,
                **result,
            }
            save_task(Classification(module), options.run / "classification_cifar10", card=card)
        path = options.run / "result.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, stage: result}, indent=1))


def through(module: Any) -> Callable[[Tensor], Tensor]:
    """Pixels to scores through encoder and head, with gradients wherever they are wanted."""
    return lambda pixels: module.head(module.encoder.embed(Batch("image", pixels)))


def embedded(stage: str, encoder: Any, images: Tensor, folder: Path) -> Tensor:
    """The frozen encoder's vector of every picture; kept in the stage's folder."""
    encoder.eval().requires_grad_(False)
    path = folder / "vectors.safetensors"
    if path.exists():
        return load_file(path)["vectors"]
    chunks = []
    with torch.inference_mode():
        for i, chunk in enumerate(images.split(500)):
            chunks.append(encoder.embed(Batch("image", chunk)))
            if i % 20 == 0:
                print(f"{stage}: vectors of {i * 500}/{len(images)} pictures", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"vectors": torch.cat(chunks)}, path)
    return load_file(path)["vectors"]


def fold(head: nn.Linear, mean: Tensor, scale: Tensor) -> None:
    """Let a head that was trained on (x - mean) / scale take x itself."""
    with torch.no_grad():
        head.weight.div_(scale)
        head.bias.sub_(head.weight @ mean)


def train(
    stage: str,
    model: nn.Module,
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Tensor,
    run: Path,
    *,
    augment: bool = False,
) -> dict[str, Any]:
    """Cross-entropy for STEPS steps; returns what it took."""
    order = shuffled(len(inputs), BATCH, SEED)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        chosen = order(step)
        return (augmented(inputs[chosen], 32) if augment else inputs[chosen]), labels[chosen]

    def report(progress: Progress) -> None:
        print(f"{stage}: {progress}", flush=True)

    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    spent_s = fit(
        model, lambda b: F.cross_entropy(forward(b[0]), b[1]), batch, [optimizer], steps=STEPS, folder=run / stage,
        schedule=cosine(0.1), seed=SEED, report=report,
    )  # fmt: skip
    return {"steps": STEPS, "spent_s": spent_s, "trained_parameters": sum(p.numel() for p in model.parameters())}


def accuracy(predict: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    """Top-1 over a split."""
    with torch.inference_mode():
        pairs = zip(images.split(500), labels.split(500), strict=True)
        return sum((predict(x).argmax(-1) == y).sum().item() for x, y in pairs) / len(images)


if __name__ == "__main__":
    main()
