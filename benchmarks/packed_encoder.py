"""A BERT layer over texts of different lengths, packed without padding, beside padded and nested peers.

    python -m benchmarks.packed_encoder [--batch 16] [--depth 1] [--rounds 11] [--equal] [--save]

BERT-base's width, lengths at even steps from 16 to 512 tokens, the same random weights everywhere, float32, one thread;
all begin with the words' ids. Goals: packed and prepacked at least 2.5 times as fast as transformers' padded BERT and
1.9 times as fast as torch.nn.TransformerEncoder's nested fast path. With ``--equal`` all lengths are 512, and packing
must cost no more than a tenth.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

import unimodal
from benchmarks.encoder import judge
from benchmarks.paired import compare
from benchmarks.varlen_attention import LONGEST, even_lengths
from unimodal.kernels.packing import pack
from unimodal.prepack import prepack

__all__ = ["main"]

WIDTH, HEADS, WORDS = 768, 12, 1000
OURS, PADDED, NESTED = "unimodal packed, prepacked", "transformers, padded", "nn.TransformerEncoder, nested"
GOALS = [(OURS, PADDED, 2.5), (OURS, NESTED, 1.9)]
EQUAL_GOALS = [("unimodal packed", "unimodal padded", 1 / 1.1)]
ERROR = 1e-5  # of the largest value


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the table; the exit code says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lengths = torch.full((options.batch,), LONGEST) if options.equal else even_lengths(options.batch)
    with torch.inference_mode():
        candidates = _candidates(options.depth, lengths)
        want = candidates[PADDED]()
        for name, run in candidates.items():
            worst = float((run() - want).abs().max() / want.abs().max())
            assert worst < ERROR, f"{name} differs from {PADDED} by {worst:.1e} of the largest value"
        report = compare(
            "packed_encoder-equal" if options.equal else "packed_encoder",
            candidates,
            base=PADDED,
            rounds=options.rounds,
            shape=[options.batch, LONGEST, WIDTH],
            depth=options.depth,
            tokens=int(lengths.sum()),
            fill=round(float(lengths.float().mean()) / LONGEST, 3),
            dtype="float32",
            threads=1,
        )
        code = judge(report, EQUAL_GOALS if options.equal else GOALS)
    print(report.table())
    if options.save:
        print(report.save())
    return code


def _candidates(depth: int, lengths: Tensor) -> dict[str, Callable[[], Tensor]]:
    """What to time, by name; each returns the real tokens, end to end."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=depth, num_attention_heads=HEADS
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours: Any = unimodal.load(f"transformers:{folder}")
    packed: Any = prepack(ours)
    ids, real = torch.randint(5, WORDS, (len(lengths), LONGEST)), torch.arange(LONGEST) < lengths[:, None]
    words = ours.tokenizer("text")
    batch = words.collate([words.read(row[:n].tolist()) for row, n in zip(ids, lengths.tolist(), strict=True)])
    ids, mask = ids * real, real.long()
    nested, padded = (_torch_encoder(theirs, depth, nested=nested) for nested in (True, False))
    return {
        PADDED: lambda: pack(theirs(input_ids=ids, attention_mask=mask).last_hidden_state, lengths),
        NESTED: lambda: pack(nested(theirs.embeddings(ids), src_key_padding_mask=~real), lengths),
        "nn.TransformerEncoder, padded": lambda: pack(
            padded(theirs.embeddings(ids), src_key_padding_mask=~real), lengths
        ),
        "unimodal padded": lambda: pack(ours.transformer(ours.tokenize(batch).padded()).x, lengths),
        "unimodal packed": lambda: ours.transformer(ours.tokenize(batch).packed()).x,
        OURS: lambda: packed.transformer(packed.tokenize(batch).packed()).x,
    }


def _torch_encoder(theirs: Any, depth: int, *, nested: bool) -> nn.TransformerEncoder:
    """torch's encoder with the weights of transformers' layers."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True
    ).eval()
    encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=nested).eval()
    for own, peer in zip(encoder.layers, theirs.encoder.layer, strict=True):
        state = peer.state_dict()
        own.load_state_dict(
            {
                f"{name}{kind}": torch.cat([state[f"{source}.{kind}"] for source in sources])
                for kind in ("weight", "bias")
                for name, sources in (
                    ("self_attn.in_proj_", [f"attention.self.{part}" for part in ("query", "key", "value")]),
                    ("self_attn.out_proj.", ["attention.output.dense"]),
                    ("norm1.", ["attention.output.LayerNorm"]),
                    ("linear1.", ["intermediate.dense"]),
                    ("linear2.", ["output.dense"]),
                    ("norm2.", ["output.LayerNorm"]),
                )
            }
        )
    return encoder


if __name__ == "__main__":
    sys.exit(main())
