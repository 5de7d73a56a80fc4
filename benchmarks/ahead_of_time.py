"""What every variant of the rule kernels takes of an A100 and an H100, compiled without either: registers, memory.

    python -m benchmarks.ahead_of_time [--architecture 90] [--width 64] [--bits 16]

writes benchmarks/results/ahead-of-time/<date>-rule-kernels.json: a row a variant, and exits with 1 where one spills
registers, needs more shared memory than there is, or multiplies bfloat16 without tensor cores. What is compiled when it
is cut off stays in the file.
"""

import argparse
import datetime
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.paired import RESULTS
from unimodal.kernels.ahead_of_time import SHARED_BYTES, Compiled, Variant, compile_ahead, variant_of
from unimodal.kernels.launch_table import BITS, KINDS, WIDTHS, Launch
from unimodal.kernels.rule import WEIGHTS, Rule
from unimodal.kernels.tile_work import Terms

__all__ = ["SETTINGS", "faults", "variants"]

# By name: the switches of the rule, and which terms come with the call.
SETTINGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain": ({}, ()),
    "causal": ({"causal": True}, ()),
    "window": ({"window": 128, "level": None}, ()),
    "lengths": ({"level": None}, ("lengths",)),
    "before": ({}, ("before",)),
    "after": ({}, ("after",)),
    "before, after": ({}, ("before", "after")),
    "before, after, causal": ({"causal": True}, ("before", "after")),
    "bias": ({}, ("bias",)),
    "mask": ({}, ("mask",)),
    "every term": ({"causal": True, "window": 128}, ("before", "after", "bias", "mask", "lengths")),
}


def variants(
    setting: str,
    weights: str,
    width: int,
    bits: int,
    architecture: int,
    launches: dict[str, Launch] | None = None,
    kinds: tuple[str, ...] = KINDS,
) -> Iterator[tuple[str, Launch, Variant]]:
    """(kind, launch, variant) of the kernels that a call under this setting launches, by the table or ``launches``."""
    from unimodal.kernels import rule_triton, rule_triton_backward, rule_triton_terms
    from unimodal.kernels.rule_triton_call import Problem, address

    switches, names = SETTINGS[setting]
    batch, heads, tokens = 2, 12, 1024

    def make(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    q = make(batch, heads, tokens, width, dtype=torch.bfloat16 if bits == 16 else torch.float32)
    there = {
        "before": make(heads, 2 * tokens - 1),
        "after": make(heads, 2 * tokens - 1),
        "bias": make(1, heads, tokens, tokens, dtype=q.dtype),
        "mask": make(batch, 1, tokens, tokens, dtype=torch.bool),
        "lengths": make(batch, dtype=torch.int64),
    }
    terms = Terms(**{name: there[name] for name in names})
    problem = Problem(q, q, q, Rule(weights, **switches), terms, launches, architecture)
    row = make(batch, heads, tokens)
    rows = rule_triton_terms.Rows(address(q), *((row, row) if problem.normalised else ()))
    wanted = ["before" in names, "after" in names]
    calls = {
        "forward": lambda: rule_triton.call(problem, q, row),
        "queries": lambda: rule_triton_backward.call_queries(problem, rows, q, q),
        "keys": lambda: rule_triton_backward.call_keys(problem, rows, q, q),
        "diagonals": lambda: rule_triton_terms.call_diagonals(problem, rows, wanted)[0],
        "bias": lambda: rule_triton_terms.call_bias(problem, rows, there["bias"]),
    }
    for kind in kinds:
        if (kind == "diagonals" and not any(wanted)) or (kind == "bias" and "bias" not in names):
            continue
        call = calls[kind]()
        one = variant_of(call.kernel, call.named, num_warps=call.launch.warps, num_stages=call.launch.stages)
        yield kind, call.launch, one


def faults(found: Compiled, architecture: int, bits: int) -> list[str]:
    """What is wrong with a compiled variant, in words; nothing if it is fit to be launched."""
    wrong = []
    if found.spilled_bytes:
        wrong.append(f"{found.spilled_bytes} bytes of registers are spilled")
    if found.shared_bytes > SHARED_BYTES[architecture]:
        wrong.append(f"{found.shared_bytes} bytes of shared memory; there are {SHARED_BYTES[architecture]}")
    if bits == 16 and found.tensor_cores is None:
        wrong.append("no tensor-core instruction")
    return wrong


def main() -> int:
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--architecture", type=int, choices=sorted(SHARED_BYTES), action="append")
    read.add_argument("--width", type=int, choices=WIDTHS, action="append")
    read.add_argument("--bits", type=int, choices=BITS, action="append")
    asked = read.parse_args()
    path = RESULTS / "ahead-of-time" / f"{datetime.date.today().isoformat()}-rule-kernels.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, bad = [], 0
    shapes = itertools.product(asked.width or (64, 128), asked.bits or BITS, asked.architecture or sorted(SHARED_BYTES))
    for (setting, weights), (width, bits, architecture) in itertools.product(
        itertools.product(SETTINGS, WEIGHTS), list(shapes)
    ):
        named = list(variants(setting, weights, width, bits, architecture))
        built = compile_ahead([variant for _, _, variant in named], architecture=architecture)
        for (kind, launch, _), found in zip(named, built, strict=True):
            wrong = faults(found, architecture, bits)
            bad += bool(wrong)
            rows.append(
                {
                    "architecture": f"sm_{architecture}",
                    "width": width,
                    "bits": bits,
                    "weights": weights,
                    "setting": setting,
                    "kernel": kind,
                    "block": [launch.queries, launch.keys],
                    "warps": launch.warps,
                    "stages": launch.stages,
                    "registers": found.registers,
                    "shared_bytes": found.shared_bytes,
                    "spilled_bytes": found.spilled_bytes,
                    "tensor_cores": found.tensor_cores,
                }
            )
            print(*rows[-1].values(), *wrong, flush=True)
        path.write_text("[\n " + ",\n ".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")
    print(f"{len(rows)} variants, {bad} with faults: {path}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
