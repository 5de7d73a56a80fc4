"""Claim: for its default input no tokenizer takes longer than the encoder behind it, unless decoding the file does.

    python -m benchmarks.tokenizers [--only audio ct ...]

One thread, one typical file of each modality (``benchmarks.inputs``), one sample at a time: decoding (``read``),
tokenizing (``collate``, ``forward``, positions) and the embedded four-block encoder of width 128 with its readout, in
shuffled rounds. The shares are of the end-to-end time. Exit code 1 when the claim fails.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.inputs import WRITERS
from benchmarks.paired import compare, save_rows
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder

__all__ = ["main"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(WRITERS), default=list(WRITERS))
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: Any = small_multimodal_encoder()().eval()
    rows, slow = [], []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name in options.only:
            row = _measured(model, name, WRITERS[name](Path(folder)), options.rounds)
            rows.append(row)
            print(_line(row), flush=True)
            if row["tokenize_ms"] > row["encoder_ms"] and row["read_ms"] < row["tokenize_ms"]:
                slow.append(name)
    if options.only == list(WRITERS):
        print(f"written to {save_rows('tokenizers', rows)}")
    print(f"failed: {', '.join(slow)} tokenize longer than the encoder takes" if slow else "passed")
    return 1 if slow else 0


def _measured(model: Any, name: str, path: Path, rounds: int) -> dict[str, Any]:
    tokenizer = model.tokenizer(name)
    sample = tokenizer.read(path)
    tokens = model.tokenize(tokenizer.collate([sample]))
    steps = {
        "read": lambda: tokenizer.read(path),
        "tokenize": lambda: model.tokenize(tokenizer.collate([sample])),
        "encoder": lambda: model.readout(model.transformer(tokens)),
    }
    report = compare(f"tokenizers-{name}", steps, base="encoder", rounds=rounds)
    ms = {label: 1e3 * statistics.median(timing.cpu_s) for label, timing in report.timings.items()}
    whole = sum(ms.values())
    return {
        "benchmark": "tokenizers",
        "threads": 1,
        "load_average": list(report.load),
        "modality": name,
        "input": path.name,
        "tokens": sample.cost,
        **{f"{label}_ms": time for label, time in ms.items()},
        "read_and_tokenize_share": (ms["read"] + ms["tokenize"]) / whole,
    }


def _line(row: dict[str, Any]) -> str:
    times = "  ".join(f"{label} {row[f'{label}_ms']:7.2f} ms" for label in ("read", "tokenize", "encoder"))
    share = f"{100 * row['read_and_tokenize_share']:3.0f} % before the encoder"
    return f"{row['modality']:>14}: {row['tokens']:4d} tokens  {times}  {share}"


if __name__ == "__main__":
    sys.exit(main())
