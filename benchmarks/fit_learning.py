"""What FIT-AR learns that layers within groups cannot: to copy across groups, and text.

    python -m benchmarks.fit_learning copy [--steps 600] [--seeds 2] [--save]
    python -m benchmarks.fit_learning text [--steps 300] [--seeds 2] [--save]

copy: sequences of 48 symbols of 8 in groups of 8; the first two groups are random, and every later one repeats the one
before the last. Whoever sees its own group only cannot do better than log2 8 = 3 bits on the repeats.

text: bytes of documentation (see :mod:`benchmarks.byte_language`), 256 in groups of 32; bits a byte on the last tenth.

The other candidate has local layers only, in the same groups and in the same causal order, with at least as many
parameters in its layers. Goals: copies below 0.3 bits against at least 2.9; text 0.05 bits a byte below the control
with every seed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from benchmarks.byte_language import BYTES, NextToken, documentation, trained
from benchmarks.paired import save_rows
from unimodal.recipes.fit import fit

__all__ = ["main"]

SYMBOLS, RUN, REPEATS = 8, 8, 4
SPECS = {"fit": "(1)1(1)1(1)", "local layers only": "(7)"}


def copies(rows: int, draw: torch.Generator) -> Tensor:
    """(B, 1 + 48): a start symbol, two random runs, and runs that repeat the one before the last."""
    two = torch.randint(SYMBOLS, (rows, 2 * RUN), generator=draw)
    return F.pad(two.repeat(1, 1 + REPEATS // 2), (1, 0), value=SYMBOLS)


def bits(model: nn.Module, x: Tensor, first: int) -> float:
    """Mean bits of the targets from the ``first`` on."""
    with torch.inference_mode():
        loss = F.cross_entropy(model(x[:, :-1])[:, first:].flatten(0, 1), x[:, 1 + first :].flatten())
    return loss.item() / torch.tensor(2.0).log().item()


def learned(
    model: nn.Module, batches: Callable[[torch.Generator], Tensor], *, seed: int, steps: int, rate: float
) -> list[float]:
    """Train, and return the mean training loss (nats) of each tenth."""
    draw = torch.Generator().manual_seed(seed)
    given = iter(lambda: batches(draw), None)
    losses = [loss for loss, _ in trained(model, given, steps=steps, rate=rate)]
    tenth = max(steps // 10, 1)
    return [round(sum(losses[i : i + tenth]) / tenth, 4) for i in range(0, steps - tenth + 1, tenth)]


def copy(name: str, seed: int, steps: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    core = fit(spec=SPECS[name], groups=2 + REPEATS, slots=RUN, latents=RUN, heads=4)
    model = NextToken(SYMBOLS + 1, 48, core)
    curve = learned(model, lambda draw: copies(64, draw), seed=seed, steps=steps, rate=3e-3)
    held = copies(512, torch.Generator().manual_seed(10_000 + seed))
    return {"bits": bits(model, held, 2 * RUN), "curve": curve, **_sizes(model, name, seed, steps)}


def text(name: str, seed: int, steps: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    own, held = documentation()
    model = NextToken(BYTES, 64, fit(spec=SPECS[name], groups=8, slots=32, latents=8, heads=4))

    def batches(draw: torch.Generator) -> Tensor:
        starts = torch.randint(len(own) - 257, (16,), generator=draw)
        return torch.stack([own[s : s + 257] for s in starts.tolist()])

    curve = learned(model, batches, seed=seed, steps=steps, rate=3e-3)
    rows = torch.stack([held[s : s + 257] for s in range(0, len(held) - 257, 256)])
    found = [bits(model, part, 0) * len(part) for part in rows.split(32)]
    return {"bits": sum(found) / len(rows), "curve": curve, **_sizes(model, name, seed, steps)}


def _sizes(model: Any, name: str, seed: int, steps: int) -> dict[str, Any]:
    layers = sum(p.numel() for p in model.core.stages.parameters())
    return {"candidate": name, "spec": SPECS[name], "seed": seed, "steps": steps, "parameters_of_layers": layers}


def main(arguments: list[str] | None = None) -> int:
    """Train all candidates, print what they learned; the exit code says whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("copy", "text"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    run, steps = (copy, 600) if options.task == "copy" else (text, 300)
    rows = []
    for seed in range(options.seeds):
        for name in SPECS:
            begun = time.process_time()
            row = run(name, seed, options.steps or steps)
            rows.append(row | {"cpu_s": round(time.process_time() - begun, 1)})
            print(f"{name}, seed {seed}: {row['bits']:.3f} bits, {rows[-1]['cpu_s']} s", flush=True)
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    if options.task == "copy":
        met = all(ours["bits"] < 0.3 and control["bits"] > 2.9 for ours, control in pairs)
    else:
        met = all(control["bits"] - ours["bits"] > 0.05 for ours, control in pairs)
    print("passed" if met else "failed")
    if options.save:
        print(
            save_rows(
                f"fit_learning-{options.task}",
                ({"benchmark": f"fit_learning-{options.task}", "passed": met} | row for row in rows),
            ).name
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
