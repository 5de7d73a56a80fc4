"""Attention over sequences of different lengths, packed end to end, beside torch's padded and nested forms.

    python -m benchmarks.varlen_attention [--batch 16] [--heads 12] [--rounds 15] [--equal] [--save]

Lengths are even steps from 16 to 512 tokens, heads 64 wide, float32, one thread. Goals: packed at least 2.4 times as
fast as the padded batch with its mask, and 12 times as fast as nested jagged tensors. With ``--equal`` all
lengths are 512, and it must be at least 0.98 times as fast as torch's fused attention without a mask.
"""

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.encoder import judge
from benchmarks.paired import compare
from unimodal.kernels.attention import attention
from unimodal.kernels.packing import pack

__all__ = ["even_lengths", "main"]

WIDTH, SHORTEST, LONGEST = 64, 16, 512
OURS, PADDED, JAGGED = "packed", "padded, with mask", "nested jagged"
GOALS = [(OURS, PADDED, 2.4), (OURS, JAGGED, 12.0)]
EQUAL_GOALS = [(OURS, "padded, no mask", 0.98)]
ERROR = 5e-6  # of the largest value, from the operator's own table


def even_lengths(count: int) -> Tensor:
    """Lengths at even steps from 16 to 512 tokens: what even draws come to on average."""
    return torch.linspace(SHORTEST, LONGEST, count).round().long()


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the table; the exit code says whether both goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lengths = torch.full((options.batch,), LONGEST) if options.equal else even_lengths(options.batch)
    rows = torch.randn(3, options.batch, LONGEST, options.heads, WIDTH)
    with torch.inference_mode():
        candidates = _candidates(rows, lengths)
        _agree(candidates, lengths)
        report = compare(
            "varlen_attention-equal" if options.equal else "varlen_attention",
            candidates,
            base=PADDED,
            rounds=options.rounds,
            shape=[options.batch, options.heads, LONGEST, WIDTH],
            tokens=int(lengths.sum()),
            fill=round(float(lengths.float().mean()) / LONGEST, 3),
            squares=round(float(lengths.square().float().mean()) / LONGEST**2, 3),
            dtype="float32",
            threads=1,
        )
        code = judge(report, EQUAL_GOALS if options.equal else GOALS)
    print(report.table())
    if options.save:
        print(report.save())
    return code


def _candidates(rows: Tensor, lengths: Tensor) -> dict[str, Callable[[], Tensor]]:
    q, k, v = (t.transpose(1, 2) for t in rows)
    mask = (torch.arange(LONGEST) < lengths[:, None])[:, None, None]
    packed = [pack(t, lengths).transpose(1, 2) for t in rows]
    cu_seqlens = F.pad(lengths.cumsum(0), (1, 0))
    sequences = [[t[b, :n] for b, n in enumerate(lengths.tolist())] for t in rows]
    jagged = [torch.nested.as_nested_tensor(list(t), layout=torch.jagged).transpose(1, 2) for t in sequences]
    strided = [torch.nested.as_nested_tensor([x.transpose(0, 1).contiguous() for x in t]) for t in sequences]
    return {
        PADDED: lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        "padded, no mask": lambda: F.scaled_dot_product_attention(q, k, v),
        JAGGED: lambda: F.scaled_dot_product_attention(jagged[0], jagged[1], jagged[2]),
        "nested strided": lambda: F.scaled_dot_product_attention(strided[0], strided[1], strided[2]),
        OURS: lambda: attention(packed[0], packed[1], packed[2], cu_seqlens=cu_seqlens),
    }


def _agree(candidates: dict[str, Callable[[], Tensor]], lengths: Tensor) -> None:
    """Compare real tokens; without a mask padding takes part, so that candidate is for its time only."""
    want = pack(candidates[PADDED]().transpose(1, 2), lengths)[0]
    bounds = F.pad(lengths.cumsum(0), (1, 0)).tolist()
    for name in (OURS, JAGGED, "nested strided"):
        got = candidates[name]()
        of_each = [got[0, :, a:b] for a, b in pairwise(bounds)] if name == OURS else list(got.unbind())
        worst = float((torch.cat(of_each, dim=1).transpose(0, 1) - want).abs().max() / want.abs().max())
        assert worst < ERROR, f"{name} differs from the padded form by {worst:.1e} of the largest value"


if __name__ == "__main__":
    sys.exit(main())
