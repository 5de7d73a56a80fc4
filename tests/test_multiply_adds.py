"""Multiply-adds against sums by hand, in every form that this package runs a product in."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch.utils.flop_counter import flop_registry

from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.full import Full
from unimodal.mixers.shifted_windows import ShiftedWindows
from unimodal.multiply_adds import multiply_adds
from unimodal.part import Part
from unimodal.prepack import prepack
from unimodal.recipes.vit import vit
from unimodal.sample import Batch
from unimodal.side import Side

B, N, D = 2, 35, 16
SIDE = Side(grid=(5, 7))
PROJECTIONS = B * N * 4 * D * D
PAIRS = B * N * N * 2 * D


def x(device: str = "cpu") -> torch.Tensor:
    return torch.randn(B, N, D, device=device)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_linear_map_costs_its_weights_once_a_token(device):
    assert multiply_adds(nn.Linear(D, 24, device=device), x(device)) == B * N * D * 24


def test_a_linear_map_with_packed_weights_costs_the_same():
    maps = nn.Sequential(nn.Linear(D, 24), nn.GELU(), nn.Linear(24, 8)).eval()
    packed: Any = prepack(maps)
    assert multiply_adds(packed, x()) == multiply_adds(maps, x()) == B * N * (D + 8) * 24


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_depthwise_convolution_costs_one_kernel_a_channel_and_cell(device):
    with torch.device(device):
        assert multiply_adds(Depthwise(D, kernel=5), x(device), SIDE) == B * N * D * 25


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_transformers_block_costs_its_maps_and_its_pairs(device):
    with torch.device(device):
        block = Block(D, mixer=Part(Full, heads=4), ffn=Part(Plain, hidden=3 * D))
        assert multiply_adds(block, x(device), SIDE) == PROJECTIONS + PAIRS + B * N * 2 * D * 3 * D


@pytest.mark.parametrize("rule", [SoftmaxAttention, SigmoidAttention])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_rules_hide_no_pairs(rule, device):
    with torch.device(device):
        mixer = Full(D, heads=4, attention=Part(rule))
        assert multiply_adds(mixer, x(device), SIDE) == PROJECTIONS + PAIRS


@pytest.mark.parametrize("causal", [False, True])
def test_attention_over_a_window_costs_the_pairs_in_it(causal):
    q, rule = torch.randn(B, 4, N, 8), Rule("sigmoid", window=3, causal=causal)
    seen = sum(abs(n - m) <= 3 and not (causal and m > n) for n in range(N) for m in range(N))
    assert multiply_adds(lambda: rule_attention(q, q, q, rule)) == B * 4 * seen * 2 * 8


def test_windows_cost_the_pairs_within_each_of_them():
    mixer = ShiftedWindows(D, window=(7, 7), mixer=Part(Full, heads=4))
    tokens = torch.randn(B, 14 * 14, D)
    pairs = B * 4 * 49**2 * 2 * D
    assert multiply_adds(mixer, tokens, Side(grid=(14, 14))) == B * 14 * 14 * 4 * D * D + pairs


def test_a_vision_transformer_costs_the_sum_over_its_blocks():
    with torch.device("meta"):
        model = vit("tiny")().eval()
        counted = multiply_adds(model.embed, Batch("image", torch.zeros(1, 3, 224, 224)))
    n, d = 197, 192
    assert counted == 196 * 768 * d + 12 * (12 * n * d * d + 2 * n * n * d)


def test_every_operator_of_this_package_that_holds_products_says_so(repository: Path):
    for path in sorted((repository / "kernels").glob("*.py")):
        if "triton" not in path.stem:
            importlib.import_module(f"unimodal.kernels.{path.stem}")
    known = {name.removeprefix("unimodal::") for name in torch._C._dispatch_get_all_op_names() if "unimodal::" in name}
    forward = {name.partition(".")[0] for name in known if not name.partition(".")[0].endswith("_backward")}
    counted = {name for name in forward if getattr(torch.ops.unimodal, name) in flop_registry}
    assert counted == {"linear_attention", "linear_sums", "rule_attention", "rule_attention_with_statistics"}
    assert forward - counted == {"norm", "pack", "unpack"}  # element by element, or copies
