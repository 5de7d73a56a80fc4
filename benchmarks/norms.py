"""Norms alone, in training, and whole encoders with their norms converted or folded, beside layer norm; one thread.

    python -m benchmarks.norms [--only norm training encoder folded] [--depth 12] [--rounds 15] [--save]

Goal: no norm and no converted encoder slower than the one with layer norms (ratio 1). The encoder is ViT-Ti (8 pictures
of 224 px), once with plain linear maps and once with prepacked ones; ``bare`` has no norm at all, which bounds what any
norm could gain. Each candidate is compared with float64, or with the layer norm's encoder, first.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import compare, save_rows
from unimodal.block import Block
from unimodal.drop_centring import drop_centring
from unimodal.ffns.plain import Plain
from unimodal.fold_norms import fold_norms
from unimodal.kernels.norm import norm, reference
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.norms.unified import UnifiedNorm
from unimodal.part import Part
from unimodal.prepack import prepack
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["main"]

SHAPES = ((8, 197, 768), (8, 197, 192), (1, 197, 192))
Runs = dict[str, Callable[[], Any]]


def norms(shape: tuple[int, ...]) -> Runs:
    """Each norm with its weight, in use; asserted against float64."""
    x, weight, bias = torch.randn(shape), torch.randn(shape[-1]), torch.randn(shape[-1])
    runs: Runs = {
        "layer": lambda: norm(x, "layer", weight=weight, bias=bias),
        "rms": lambda: norm(x, "rms", weight=weight),
        "crms": lambda: norm(x, "crms", weight=weight),
        "affine (folded, alone)": lambda: norm(x, "affine", weight=weight, bias=bias),
    }
    for name, run in runs.items():
        kind, own = name.split()[0], bias.double() if name[0] in "la" else None
        want = reference(x.double(), kind, weight=weight.double(), bias=own)
        assert (run().double() - want).abs().max() < 5e-6 * want.abs().max(), name
    runs["rms, without weight"] = lambda: norm(x, "rms")
    runs["crms, without weight"] = lambda: norm(x, "crms")
    runs["torch rms_norm"] = lambda: F.rms_norm(x, weight.shape, weight, 1e-6)
    return runs


def trained(shape: tuple[int, ...]) -> Runs:
    """Forward and backward pass of each norm."""
    x, weight, bias = (torch.randn(size).requires_grad_() for size in (shape, shape[-1], shape[-1]))
    grad = torch.randn(shape)

    def both(run: Callable[[], Tensor]) -> Callable[[], None]:
        def passes() -> None:
            x.grad = weight.grad = bias.grad = None
            run().backward(grad)

        return passes

    return {
        "layer": both(lambda: norm(x, "layer", weight=weight, bias=bias)),
        "rms": both(lambda: norm(x, "rms", weight=weight)),
        "crms": both(lambda: norm(x, "crms", weight=weight)),
        "torch rms_norm": both(lambda: F.rms_norm(x, weight.shape, weight, 1e-6)),
    }


def encoder(of: Part, depth: int) -> Any:
    """The core of ViT-Ti with some norm; weights and statistics are arbitrary."""
    torch.manual_seed(0)
    block = Part(Block, mixer=Part(Full, heads=3), ffn=Part(Plain, ratio=4.0), norm=of)
    model = Model(192, tokenizers={}, transformer=Part(Transformer, depth=depth, blocks=block, norm=of)).eval()
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith(("running_var", "running_square")):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point() and "norm" in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    return model


class Nothing(nn.Module):
    """In a norm's place."""

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return x


def bare(model: Any) -> Any:
    """The encoder without norms: another function, and the least time that any norm could leave."""
    for block in model.transformer.blocks:
        block.norm_mixer, block.norm_ffn = Nothing(), Nothing()
    model.transformer.norm = Nothing()
    return model


def run_of(model: Any, x: Tensor) -> Callable[[], Tensor]:
    return lambda: model.transformer(model.place(Tokens(x, Side()), "any")).x


def agree(runs: Runs, base: str) -> None:
    want = runs[base]()
    for name, run in runs.items():
        gap = float((run() - want).abs().max() / want.abs().max())
        print(f"{name} is within {gap:.1e} of {base}")
        assert gap < 1e-5, name


def comparisons(only: list[str], depth: int) -> Iterator[tuple[str, Runs, str, dict[str, float], list[int]]]:
    """Name, candidates, base, goals and shape."""
    for shape in SHAPES:
        if "norm" in only:
            yield "norm", norms(shape), "layer", {"rms": 1.0, "crms": 1.0}, list(shape)
    for shape in SHAPES:
        if "training" in only:
            yield "training", trained(shape), "layer", {"rms": 1.0, "crms": 1.0}, list(shape)
    shape = (8, 197, 192)
    x = torch.randn(shape)
    for packed in (False, True):
        pack = prepack if packed else lambda model: model
        label = "packed" if packed else "plain"
        plain = encoder(Part(LayerNorm), depth)
        layer, none = run_of(pack(plain), x), run_of(pack(bare(encoder(Part(LayerNorm), depth))), x)
        if "encoder" in only:
            rms, crms = (run_of(pack(drop_centring(plain, compressed=c)), x) for c in (False, True))
            runs: Runs = {"layer": layer, "rms": rms, "crms": crms}
            agree(runs, "layer")
            yield f"encoder, {label} maps", {**runs, "bare": none}, "layer", {"rms": 1.0, "crms": 1.0}, list(shape)
        if "folded" in only:
            runs = {"layer": layer}
            for name, of in (("progressive batch", ProgressiveBatchNorm), ("unified", UnifiedNorm)):
                unfolded = encoder(Part(of), depth)
                folded = run_of(pack(fold_norms(unfolded)), x)
                # In float64: arbitrary weights of twelve layers with a skip beside the norm magnify float32's rounding.
                wide, given = copy.deepcopy(unfolded).double(), x.double()
                agree({"unfolded": run_of(wide, given), "folded": run_of(fold_norms(wide), given)}, "unfolded")
                runs |= {f"{name}, folded": folded, name: run_of(pack(unfolded), x)}
            goals = {"progressive batch, folded": 1.0, "unified, folded": 1.0}
            yield f"folded, {label} maps", {**runs, "bare": none}, "layer", goals, list(shape)


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the tables; the exit code says whether every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ["norm", "training", "encoder", "folded"]
    parser.add_argument("--only", nargs="+", choices=every, default=every)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    code, rows = 0, []
    with torch.no_grad():
        for name, runs, base, goals, shape in comparisons(options.only, options.depth):
            with torch.set_grad_enabled(name == "training"):
                rounds = options.rounds * (1 if name.startswith(("encoder", "folded")) else 3)
                setting = {"shape": shape, "dtype": "float32", "threads": 1}
                report = compare("norms", runs, base=base, rounds=rounds, comparison=name, **setting)
                verdicts = [report.verdict(candidate, goal) for candidate, goal in goals.items()]
            for verdict in verdicts:
                print(f"{name} {shape}: {verdict.outcome}: {verdict.reason}")
                code = code or verdict.exit_code
            print(f"\n{report.table()}\n")
            rows += report.rows()
    if options.save:
        print(save_rows("norms", rows))
    return code


if __name__ == "__main__":
    sys.exit(main())
