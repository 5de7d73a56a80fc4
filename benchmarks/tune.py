"""Measure the launches of the rule kernels on the CUDA device at hand, and write the fastest into the table.

    python -m benchmarks.tune [--width 64] [--bits 16]

Only launches whose outputs have the sums of the table's row are timed. Rows of other processors stay as they are.
Without a CUDA device it says so and exits with 2.
"""

import argparse
import itertools
import json
import sys

import torch

from unimodal.kernels.launch_table import BITS, KINDS, TABLE, WIDTHS, Launch, row_name
from unimodal.kernels.rule import Rule
from unimodal.kernels.tile_work import Terms

__all__ = ["candidates"]


def candidates(kind: str) -> list[Launch]:
    """The launches that are tried for a kernel; the diagonals' blocks are square."""
    sizes = itertools.product((32, 64, 128), (32, 64, 128), (4, 8), (1, 2, 3, 4))
    return [Launch(*one) for one in sizes if kind != "diagonals" or one[0] == one[1]]


def main() -> int:
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--width", type=int, choices=WIDTHS, action="append")
    read.add_argument("--bits", type=int, choices=BITS, action="append")
    asked = read.parse_args()
    if not torch.cuda.is_available():
        print("tuning times kernels on a CUDA device, and torch sees none", file=sys.stderr)
        return 2
    architecture = 10 * torch.cuda.get_device_capability()[0]
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    rows = table.setdefault(str(architecture), {})
    for width, bits, plain in itertools.product(asked.width or WIDTHS, asked.bits or BITS, (True, False)):
        for kind in KINDS:
            best = _fastest(kind, width, bits, plain)
            if best is not None:
                rows[row_name(kind, width, bits, plain)] = [best.queries, best.keys, best.warps, best.stages]
                print(row_name(kind, width, bits, plain), best, flush=True)
    blocks = (
        f' "{name}": {{\n' + ",\n".join(f'  "{key}": {json.dumps(row)}' for key, row in own.items()) + "\n }"
        for name, own in table.items()
    )
    TABLE.write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")
    return 0


def _fastest(kind: str, width: int, bits: int, plain: bool) -> Launch | None:
    """The launch with the least time for 4 x 12 heads of 2048 tokens; None where plain has no such kernel."""
    from triton.testing import do_bench

    from unimodal.kernels import rule_triton, rule_triton_backward, rule_triton_terms
    from unimodal.kernels.rule_triton_call import Problem, address

    if plain and kind in ("diagonals", "bias"):
        return None
    dtype = torch.bfloat16 if bits == 16 else torch.float32
    q, k, v, grad = (torch.randn(4, 12, 2048, width, device="cuda", dtype=dtype) for _ in range(4))
    strips = torch.randn(2, 12, 4095, device="cuda")
    bias = torch.randn(1, 12, 2048, 2048, device="cuda") if kind == "bias" else None
    terms = Terms() if plain else Terms(before=strips[0], after=strips[1], bias=bias)
    out, lse = rule_triton.forward(q, k, v, Rule(), terms)
    delta = (grad.float() * out.float()).sum(-1)
    rows = rule_triton_terms.Rows(address(grad), lse, delta)
    times = {}
    expected = None
    for launch in (None, *candidates(kind)):
        problem = Problem(q, k, v, Rule(), terms, None if launch is None else {kind: launch})
        made = [torch.zeros_like(q), torch.zeros_like(q)]
        if kind == "forward":
            call = rule_triton.call(problem, made[0], lse.clone())
        elif kind == "queries":
            call = rule_triton_backward.call_queries(problem, rows, out, made[0])
        elif kind == "keys":
            call = rule_triton_backward.call_keys(problem, rows, *made)
        elif kind == "bias":
            made = [torch.zeros_like(bias)] if bias is not None else []
            call = rule_triton_terms.call_bias(problem, rows, made[0])
        else:
            call, made = rule_triton_terms.call_diagonals(problem, rows, [True, True])
        try:
            call()
        except Exception as error:  # too much shared memory, or too many registers: another candidate fits
            print(f"{kind} {launch}: {error}", file=sys.stderr)
            continue
        sums = torch.stack([x.float().sum() for x in made if x is not None])
        expected = sums if expected is None else expected
        if launch is not None and torch.allclose(sums, expected, rtol=1e-2, atol=1e-2 * float(out.numel()) ** 0.5):
            times[launch] = do_bench(call)
    return min(times, key=lambda one: times[one]) if times else None


if __name__ == "__main__":
    sys.exit(main())
