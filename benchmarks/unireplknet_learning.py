"""UniRepLKNet learns digits and a series with one code path, and once deployed it predicts the same.

    python -m benchmarks.unireplknet_learning [--only image] [--digits FOLDER] [--steps 90] [--save]

The recipe of size a is trained twice; what differs is the word ``modality``. Digits: 1500 of MNIST's pictures, 32 px,
300 others to test on (``mnist_train.npz`` and ``mnist_test.npz`` with ``image`` and ``label``). Series: 512 steps of
noise with a burst of one of four frequencies in the first 64 steps, which is the label, and another burst, of any of
the four, in the last 64: who cannot tell the first from the last is right in 62 % of the cases at best. Goals: 90 % of
each test set, and deployed not one prediction changed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.paired import save_rows
from benchmarks.shared_data import SHARED
from unimodal.recipes.unireplknet import unireplknet
from unimodal.reparameterize import reparameterize

__all__ = ["main"]

GOAL, BATCH = 0.9, 32


def digits(folder: Path) -> tuple[list[Any], list[int], list[Any], list[int]]:
    """Pictures of three channels with a rim of 2 px, and their labels; then those to test on."""
    out: list[Any] = []
    for name, count in (("train", 1500), ("test", 300)):
        with np.load(folder / f"mnist_{name}.npz") as held:
            images, labels = held["image"][:count], held["label"][:count]
        rimmed = np.pad(images.reshape(count, 28, 28), ((0, 0), (2, 2), (2, 2)))
        out += [list(np.repeat(rimmed[..., None], 3, -1)), labels.astype(int).tolist()]
    return out[0], out[1], out[2], out[3]


def bursts(seed: int, count: int) -> tuple[list[Any], list[int]]:
    """Series (512, 1) and the frequency of each one's first burst."""
    random, time_s = np.random.default_rng(seed), np.arange(64)
    kinds = random.integers(0, 4, (count, 2))
    series = 0.3 * random.normal(size=(count, 512))
    for place, kind in ((slice(0, 64), kinds[:, 0]), (slice(-64, None), kinds[:, 1])):
        phase = random.uniform(0, 2 * np.pi, (count, 1))
        series[:, place] += np.sin(2 * np.pi * time_s * (0.03 * 2.0 ** kind[:, None]) + phase)
    return list(series[..., None]), kinds[:, 0].tolist()


def learn(modality: str, classes: int, data: Sequence[Any], *, steps: int, rate: float = 2e-3) -> dict[str, Any]:
    """Train the recipe on (inputs, labels), test it on two others, deploy it and test again."""
    torch.manual_seed(0)
    model: Any = unireplknet("a", modality=modality, image=32, classes=classes, layer_scale=None)()
    tokenizer = model.tokenizer(modality)
    seen, unseen = ([tokenizer.read(source) for source in sources] for sources in (data[0], data[2]))
    labels, expected = torch.tensor(data[1]), torch.tensor(data[3])
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.2)
    draw, start = torch.Generator().manual_seed(0), time.process_time()
    for _ in range(steps):
        chosen = torch.randint(len(seen), (BATCH,), generator=draw)
        loss = F.cross_entropy(model.embed(tokenizer.collate([seen[i] for i in chosen])), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    deployed: Any = reparameterize(model.eval())
    logits = []
    with torch.inference_mode():
        for net in (model, deployed):
            batches = (unseen[i : i + BATCH] for i in range(0, len(unseen), BATCH))
            logits.append(torch.cat([net.embed(tokenizer.collate(batch)) for batch in batches]))
    before, after = (z.argmax(-1) for z in logits)
    return {
        "candidate": modality,
        "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters()),
        "accuracy": float((before == expected).float().mean()),
        "changed_by_deploying": int((before != after).sum()),
        "largest_difference": float((logits[0] - logits[1]).abs().max()),
        "largest_logit": float(logits[0].abs().max()),
        "cpu_s": time.process_time() - start,
    }


def main(arguments: list[str] | None = None) -> int:
    """Train both, print and keep the table; the exit code says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("time_series", "image"))
    parser.add_argument("--digits", type=Path, default=SHARED / "mnist")
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for modality, classes in (("time_series", 4), ("image", 10)):
        if options.only in (None, modality):
            data = digits(options.digits) if modality == "image" else (*bursts(0, 1500), *bursts(1, 300))
            rows.append(learn(modality, classes, data, steps=options.steps))
            print(rows[-1], flush=True)
            if options.save:
                print(save_rows(f"unireplknet_learning-{modality}", rows[-1:]), flush=True)
    return int(any(row["accuracy"] < GOAL or row["changed_by_deploying"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
