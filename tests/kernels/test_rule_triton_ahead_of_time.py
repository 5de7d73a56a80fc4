"""Variants of the rule kernels compiled for A100 and H100: what spills is known, memory suffices, tensor cores work."""

from dataclasses import replace

import pytest

from benchmarks.ahead_of_time import SETTINGS, faults, variants
from unimodal.kernels.ahead_of_time import SHARED_BYTES, compile_ahead
from unimodal.kernels.rule import WEIGHTS

pytest.importorskip("triton")


# No launch was found under which these spill nothing: bytes by the call and the kernel. They may not spill more.
SPILLED = {
    ("mask", "softmax", 128, 16, 80, "forward"): 80,
    ("every term", "sigmoid", 64, 32, 80, "diagonals"): 16,
    ("window", "relu", 128, 32, 90, "keys"): 12,
    ("before, after", "softmax", 128, 32, 90, "diagonals"): 116,
    ("every term", "sigmoid", 128, 32, 90, "keys"): 12,
}


def check(setting: str, weights: str, width: int, bits: int, architecture: int, kinds: list[str] | None = None) -> None:
    named = [(k, v) for k, _, v in variants(setting, weights, width, bits, architecture) if not kinds or k in kinds]
    found = compile_ahead([variant for _, variant in named], architecture=architecture)
    wrong = {}
    for (kind, _), one in zip(named, found, strict=True):
        known = SPILLED.get((setting, weights, width, bits, architecture, kind), 0)
        wrong[kind] = faults(replace(one, spilled_bytes=0) if one.spilled_bytes <= known else one, architecture, bits)
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize(
    "setting, weights, architecture, kinds",
    [("before, after", "softmax", 90, ["forward", "keys"]), ("causal", "sigmoid", 80, ["forward", "queries"])],
)
def test_a_handful_of_variants_fits_the_processor(setting, weights, architecture, kinds):
    check(setting, weights, 64, 16, architecture, kinds)


# The whole grid is 264 calls of 15 s: with --grid. These 22 meet every setting on both processors, and between them all
# weights, widths and dtypes.
SHAPES = [(64, 16), (128, 16), (64, 32), (128, 32)]
MET = [
    (setting, list(WEIGHTS)[i % len(WEIGHTS)], *SHAPES[(i + at) % len(SHAPES)], architecture)
    for at, architecture in enumerate(SHARED_BYTES)
    for i, setting in enumerate(SETTINGS)
]


@pytest.mark.slow
@pytest.mark.parametrize("setting, weights, width, bits, architecture", MET)
def test_every_setting_fits_both_processors(setting, weights, width, bits, architecture):
    check(setting, weights, width, bits, architecture)


@pytest.mark.grid
@pytest.mark.parametrize("architecture", SHARED_BYTES)
@pytest.mark.parametrize("width, bits", SHAPES)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_variant_fits_the_processor(setting, weights, width, bits, architecture):
    check(setting, weights, width, bits, architecture)
