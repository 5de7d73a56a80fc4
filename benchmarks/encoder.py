"""A ViT's forward pass beside those of other libraries with the same weights, float32 and bfloat16, one thread.

    python -m benchmarks.encoder [--model base|small|tiny] [--batch 8] [--rounds 15] [--compile] [--exported] [--save]

``unimodal`` runs as loaded; ``unimodal, prepacked`` after :func:`unimodal.prepack.prepack`, as the batch runner does.
Goals for the base size (its depth cut to 4): prepacked at least 1.25 times as fast as timm in float32 and 2.6 times in
bfloat16; with ``--compile`` also 1.2 and 1.05 times as fast as timm compiled with frozen weights in the same dtype.
``--exported`` adds onnxruntime and openvino where they are installed, with onnx and onnxscript.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.paired import Report, compare
from benchmarks.vit_peers import compiled, exported, others, twins
from unimodal.prepack import prepack
from unimodal.sample import Batch

__all__ = ["main"]

# width, depth, heads; base is cut to four blocks
SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 4, 12)}
ERROR = {"float32": 1e-5, "bfloat16": 0.05}  # of the largest value
OURS, OURS_BF16 = "unimodal, prepacked", "unimodal bf16, prepacked"
COMPILED, COMPILED_BF16 = "timm, compiled and frozen", "timm bf16, compiled and frozen"
# (ours, peer, the least ratio of their CPU times); smaller models have more overhead to lose than matrices to gain
GOALS = {
    "base": [(OURS, "timm", 1.25), (OURS, COMPILED, 1.2), (OURS_BF16, "timm", 2.6), (OURS_BF16, COMPILED_BF16, 1.05)],
    "small": [(OURS, "timm", 1.0), (OURS_BF16, "timm", 1.0)],
    "tiny": [(OURS, "timm", 1.0), (OURS_BF16, "timm", 1.0)],
}


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the table; the exit code says whether every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="base")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--exported", action="store_true")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    width, depth, heads = SIZES[options.model]
    pixels = torch.randn(options.batch, 3, 224, 224)
    with torch.inference_mode():
        candidates = _candidates(width, depth, heads, pixels, options)
        agree(candidates)
        report = compare(
            f"encoder-vit-{options.model}",
            candidates,
            base="timm",
            rounds=options.rounds,
            shape=list(pixels.shape),
            width=width,
            depth=depth,
            threads=1,
        )
        code = judge(report, GOALS[options.model])
    print(report.table())
    if options.save:
        print(report.save())
    return code


def _candidates(width: int, depth: int, heads: int, pixels: Tensor, options: Any) -> dict[str, Callable[[], Tensor]]:
    theirs, timm, ours = twins(width, depth, heads)
    timm_bf16, ours_bf16 = copy.deepcopy(timm).bfloat16(), copy.deepcopy(ours).bfloat16()
    small = pixels.bfloat16()
    packed: Any = prepack(ours)
    packed_bf16: Any = prepack(ours_bf16)
    batch, batch_bf16 = Batch("image", pixels), Batch("image", small)
    found: dict[str, Callable[[], Tensor]] = {
        "timm": lambda: timm.forward_features(pixels),
        "transformers": lambda: theirs(pixels).last_hidden_state,
        **{name: (lambda run=run: run(pixels)) for name, run in others(timm, width, depth, heads).items()},
        "unimodal": lambda: ours(batch).x,
        OURS: lambda: packed(batch).x,
        "timm bf16": lambda: timm_bf16.forward_features(small),
        OURS_BF16: lambda: packed_bf16(batch_bf16).x,
    }
    if options.compile:
        plain, plain_bf16 = compiled(timm), compiled(timm_bf16)
        found |= {COMPILED: lambda: plain(pixels), COMPILED_BF16: lambda: plain_bf16(small)}
    if options.exported:
        runs, absent = exported(timm, pixels)
        found |= {name: (lambda run=run: run(pixels)) for name, run in runs.items()}
        for name, reason in absent.items():
            print(f"left out: {name}: {reason}")
    return found


def agree(candidates: dict[str, Callable[[], Tensor]]) -> None:
    """Raise an AssertionError where a candidate is further from timm than rounding explains."""
    want = candidates["timm"]().float()
    for name, run in candidates.items():
        allowed = ERROR["bfloat16" if "bf16" in name else "float32"]
        worst = float((run().float() - want).abs().max() / want.abs().max())
        assert worst < allowed, f"{name} differs from timm by {worst:.1e} of the largest value"


def judge(report: Report, goals: list[tuple[str, str, float]]) -> int:
    """Print each goal whose candidates ran, and what became of it; the worst exit code of all."""
    codes = [0]
    for ours, peer, target in goals:
        if ours in report.timings and peer in report.timings:
            verdict = report.rebased(peer).verdict(ours, target)
            print(f"{verdict.outcome} against {peer}: {verdict.reason}")
            codes.append(verdict.exit_code)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
