"""What the batch-invariant copy of the embedded encoder costs, beside the encoder as it is; one thread, float32.

    python -m benchmarks.batch_invariant [--inputs 32] [--rounds 9] [--save]

Pictures of three sizes in one batch. First it is counted in how many random batchings a picture's bits differ from
those it has alone, with the copy (none may) and with the encoder as it is.
"""

import argparse
import random
import sys
from typing import Any

import numpy as np
import torch

from benchmarks.paired import compare
from unimodal.batch_invariant import batch_invariant
from unimodal.embedding import Embedder
from unimodal.pretrained import load

__all__ = ["main"]

SIDES = (32, 48, 64)


def changed(embedder: Embedder, samples: list[Any], batchings: int) -> int:
    """In how many random batchings at least one sample has other bits than alone."""
    alone, draw, count = [embedder.predict([s])[0].vector for s in samples], random.Random(0), 0
    for _ in range(batchings):
        part = draw.sample(range(len(samples)), draw.randint(2, len(samples)))
        found = embedder.predict([samples[i] for i in part])
        count += not all(torch.equal(one.vector, alone[i]) for one, i in zip(found, part, strict=True))
    return count


def main(arguments: list[str] | None = None) -> int:
    """Count, time and print; exit code 1 if the copy's bits ever differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, draw = load("unimodal:small_multimodal_encoder"), np.random.default_rng(0)
    plain, copy = Embedder(model), Embedder(batch_invariant(model))
    sides = [SIDES[i % len(SIDES)] for i in range(options.inputs)]
    samples = [model.tokenizer("image").read(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)) for side in sides]
    differ = {name: changed(one, samples, 20) for name, one in (("copy", copy), ("as it is", plain))}
    print(f"of 20 random batchings with other bits than alone: {differ}\n")
    report = compare(
        "batch_invariant",
        {"as it is": lambda: plain.predict(samples), "batch-invariant": lambda: copy.predict(samples)},
        base="as it is",
        rounds=options.rounds,
        inputs=options.inputs,
        differ=differ,
        threads=1,
    )
    print(report.table())
    if options.save:
        print(report.save())
    return int(differ["copy"] > 0)


if __name__ == "__main__":
    sys.exit(main())
