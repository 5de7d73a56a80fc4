"""FIT at length: how time grows with the number of tokens, and the memory of a training step on 160,000 of them.

    python -m benchmarks.fit [--rounds 5] [--save]                          time, tokens 1,024 to 16,000
    python -m benchmarks.fit --step [--dim 128] [--width 256] [--save]      memory, 400 x 400 tokens in 625 windows

Time: forward and backward of the recipe beside a plain transformer with as many layers over all tokens as the recipe
has within groups. Slots grow like tokens^(1/3) (tokens = slots^3 / 4), latents of a group stay 4. The exponent is the
slope of log time over log tokens by least squares; its goal is 1.4. The recipe is compared with dense masks over the
whole sequence first.

Memory: one step of AdamW in float32 without recomputation, in a process of its own; the peak of its resident memory
must stay below 16 GB.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.paired import compare, exponent, memory_kb, save_rows
from unimodal.norms.layer import LayerNorm
from unimodal.recipes.fit import fit
from unimodal.recipes.pre_norm import pre_norm
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["main"]

SLOTS, LATENTS, SPEC = (16, 20, 24, 32, 40), 4, "(2)2(2)"
EXPONENT, GIGABYTES, WINDOW, SIDE = 1.4, 16.0, (16, 16), 400


def models(slots: int, dim: int, width: int) -> tuple[Any, Any]:
    """The recipe and the plain transformer."""
    heads, over = max(dim // 32, 1), max(width // 32, 1)
    groups = slots**2 // 4
    ours = fit(spec=SPEC, groups=groups, slots=slots, latents=LATENTS, heads=heads, width=width, across_heads=over)(dim)
    return ours, pre_norm(depth=4, heads=heads, hidden=4 * dim)(dim)


def trained(model: Any, x: Tensor) -> Callable[[], None]:
    """Forward and backward, without a step."""

    def run() -> None:
        model(Tokens(x)).x.square().mean().backward()

    return run


def agree(model: Any, x: Tensor) -> None:
    """Raise an AssertionError where the recipe is not its layers with dense masks over the whole sequence."""
    slots = len(model.slots)
    group = torch.arange(x.shape[1]) // slots
    latent = torch.arange(len(model.latents) * LATENTS) // LATENTS
    flat = x + model.slots.repeat(len(model.latents), 1)
    z = model.latents.flatten(0, 1).expand(len(x), -1, -1)
    for stage in model.stages:
        for block in stage.local:
            flat = block(flat, Side(mask=group[:, None] == group))
        if stage.read is not None:
            z = stage.read(z, Side(mask=latent[:, None] == group, memory=Tokens(flat)))
        for block in stage.across:
            z = block(z)
        if stage.write is not None:
            flat = stage.write(flat, Side(mask=group[:, None] == latent, memory=Tokens(z)))
    expected = model.norm_tokens(flat)
    worst = float((model(Tokens(x)).x - expected).abs().max() / expected.abs().max())
    assert worst < 1e-5, f"the recipe differs from dense masks by {worst:.1e} of the largest value"


def times(dim: int, width: int, rounds: int) -> tuple[list[dict[str, Any]], int]:
    rows, seconds = [], {"fit": [], "plain transformer": []}
    tokens = [slots**3 // 4 for slots in SLOTS]
    for slots, count in zip(SLOTS, tokens, strict=True):
        torch.manual_seed(0)
        ours, plain = models(slots, dim, width)
        x = torch.randn(1, count, dim)
        if slots == SLOTS[0]:
            with torch.inference_mode():
                agree(ours, x)
        runs = {"fit": trained(ours, x), "plain transformer": trained(plain, x)}
        setting = {"tokens": count, "slots": slots, "latents": LATENTS, "dim": dim, "width": width, "threads": 1}
        report = compare("fit", runs, base="plain transformer", rounds=rounds, warmup=1, spec=SPEC, **setting)
        print(f"{count} tokens in groups of {slots}\n\n{report.table()}\n")
        rows += report.rows()
        for name, timing in report.timings.items():
            seconds[name].append(statistics.median(timing.cpu_s))
    slopes = {name: round(exponent(tokens, spent), 3) for name, spent in seconds.items()}
    met = slopes["fit"] <= EXPONENT
    print(f"exponents {slopes}, goal {EXPONENT} for fit: {'passed' if met else 'failed'}")
    return [*rows, {"benchmark": "fit", "exponents": slopes, "goal": EXPONENT, "passed": met}], 0 if met else 1


def step(dim: int, width: int, latents: int, answer: Any) -> None:
    """One training step on a lattice of 400 x 400 tokens; sends what it took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    core = fit(
        spec="(2)4(2)4",
        groups=(SIDE // WINDOW[0]) * (SIDE // WINDOW[1]),
        slots=WINDOW,
        latents=latents,
        heads=max(dim // 32, 1),
        width=width,
        across_heads=max(width // 32, 1),
    )
    model: Any = torch.nn.ModuleDict({"norm": LayerNorm(dim), "core": core(dim), "head": torch.nn.Linear(width, 10)})
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x, side = torch.randn(1, SIDE * SIDE, dim), Side(grid=(SIDE, SIDE))
    before, begun = memory_kb("VmHWM"), time.process_time()
    found = model["head"](model["core"](Tokens(model["norm"](x), side)).x.mean(1))
    loss = torch.nn.functional.cross_entropy(found, torch.zeros(1, dtype=torch.long))
    loss.backward()
    optimiser.step()
    finite = all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
    peak = memory_kb("VmHWM")
    answer.send(
        {
            "benchmark": "fit-step",
            "tokens": SIDE * SIDE,
            "spec": "(2)4(2)4",
            "window": list(WINDOW),
            "latents": latents * core.kwargs["groups"],
            "dim": dim,
            "width": width,
            "parameters": sum(p.numel() for p in model.parameters()),
            "cpu_s": round(time.process_time() - begun, 1),
            "peak_gb": round(peak * 1024 / 1e9, 2),
            "before_gb": round(before * 1024 / 1e9, 2),
            "finite": finite,
        }
    )


def memory(dim: int, width: int, latents: int) -> tuple[list[dict[str, Any]], int]:
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=step, args=(dim, width, latents, there))
    process.start()
    there.close()
    row = here.recv()
    process.join()
    met = row["peak_gb"] < GIGABYTES and row["finite"]
    print(json.dumps(row, indent=1))
    print(f"peak {row['peak_gb']} GB, goal below {GIGABYTES}: {'passed' if met else 'failed'}")
    return [row | {"goal": GIGABYTES, "passed": met}], 0 if met else 1


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; the exit code says whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", action="store_true", help="memory of a training step instead of time")
    parser.add_argument("--dim", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--latents", type=int, default=16, help="of a window, for --step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dim = options.dim or (128 if options.step else 64)
    width = options.width or 2 * dim
    rows, code = memory(dim, width, options.latents) if options.step else times(dim, width, options.rounds)
    if options.save:
        print(save_rows("fit-step" if options.step else "fit", rows).name)
    return code


if __name__ == "__main__":
    sys.exit(main())
