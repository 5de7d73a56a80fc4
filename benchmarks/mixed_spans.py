"""Mixed spans: how the time of a local layer grows with the sequence, and what share of full attention a model needs.

    python -m benchmarks.mixed_spans [--longest 8192] [--block 1024] [--lookback 1] [--rounds 5]

Causal attention of one layer (8 heads 64 wide, float32, outputs alone, one thread) over 1024 tokens up to the longest,
each length twice the one before: full, and in blocks. Gated: the time of blocks grows with an exponent of at most 1.2
over the last doubling. Beside the measured share of 24 layers with 8 full ones stands that of the scores, counted.
"""

import argparse
import math
import sys
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.paired import compare
from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixed_spans import causal_scores
from unimodal.side import Side

__all__ = ["main"]

HEADS, WIDTH, LAYERS, FULL, STEEPEST = 8, 64, 24, 8, 1.2


def main(arguments: list[str] | None = None) -> int:
    """Print a line a length; the exit code says whether the time of blocks is linear."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=8192)
    parser.add_argument("--block", type=int, default=1024)
    parser.add_argument("--lookback", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    span = {"block": options.block, "lookback": options.lookback}
    local, full, times, tokens = BlockLocalAttention(**span), SoftmaxAttention(), [], 1024
    with torch.inference_mode():
        while tokens <= options.longest:
            q, k, v = (torch.randn(1, tokens, HEADS, WIDTH).transpose(1, 2) for _ in range(3))
            place = torch.arange(tokens) // options.block
            behind = place[:, None] - place
            near = (behind >= 0) & (behind <= options.lookback) & torch.ones_like(behind, dtype=torch.bool).tril()
            judge = F.scaled_dot_product_attention(q[:, :1], k[:, :1], v[:, :1], attn_mask=near)
            torch.testing.assert_close(local(q, k, v, Side(causal=True))[:, :1], judge, rtol=0, atol=1e-5)
            runs = {
                "full": partial(full, q, k, v, Side(causal=True)),
                "blocks": partial(local, q, k, v, Side(causal=True)),
            }
            report = compare("mixed_spans", runs, base="full", rounds=options.rounds, warmup=1)
            ms = {row["candidate"]: row["cpu_ms"]["median"] for row in report.rows()}
            counted = causal_scores(tokens, **span) / causal_scores(tokens)
            shares = [(FULL + (LAYERS - FULL) * part) / LAYERS for part in (ms["blocks"] / ms["full"], counted)]
            print(
                f"{tokens}: full {ms['full']:.1f} ms, blocks {ms['blocks']:.1f} ms; share of {FULL} full layers of",
                end=" ",
            )
            print(f"{LAYERS}: {shares[0]:.3f} of the time, {shares[1]:.3f} of the scores")
            times.append(ms["blocks"])
            tokens *= 2
    steep = math.log2(times[-1] / times[-2])
    print(f"{'passed' if steep <= STEEPEST else 'failed'}: the exponent of the last doubling is {steep:.2f}")
    return 0 if steep <= STEEPEST else 1


if __name__ == "__main__":
    sys.exit(main())
