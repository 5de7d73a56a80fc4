"""When attention takes the Triton kernels, and what its operators promise on CUDA: asked without a CUDA device."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from unimodal.kernels import rule_attention as rule_attention_file
from unimodal.kernels.rule import WEIGHTS, Rule
from unimodal.kernels.rule_attention import KERNELS, SDPA, choose


@pytest.mark.parametrize(
    "change, major, reason",
    [
        ({}, 9, "it fits"),
        ({}, 7, "need compute capability 8.0, and cuda:0 has 7.x"),
        ({"weights": "squared"}, 9, "do not have the weights 'squared'"),
        ({"dtype": torch.float64}, 9, "accumulate in float32, and q is float64"),
        ({"width": 257}, 9, "heads up to 256 wide, not 257"),
    ],
)
def test_on_cuda_the_kernels_are_chosen_or_refuse_with_a_reason(monkeypatch, change, major, reason):
    monkeypatch.setitem(WEIGHTS, "squared", replace(WEIGHTS["sigmoid"], mode=None))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device=None: (major, 0))
    asked = {"dtype": torch.bfloat16, "width": 64, "weights": "sigmoid"} | change
    with FakeTensorMode():
        q = torch.empty(2, 4, 8, asked["width"], dtype=asked["dtype"], device="cuda:0")
    choice = choose(q, q, q, Rule(asked["weights"]))
    assert choice.implementation == (KERNELS if reason == "it fits" else "reference")
    assert reason in choice.reason
    assert choose(q, q, q).implementation == SDPA
    monkeypatch.setattr(rule_attention_file, "find_spec", lambda _: None)
    if reason == "it fits":
        assert choose(q, q, q, Rule("sigmoid")).reason == "triton is not installed"


@pytest.mark.parametrize("learned", ["q", "v"])
def test_on_cuda_wide_float32_heads_are_refused_where_a_gradient_is_needed(monkeypatch, learned):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device=None: (9, 0))

    def chosen(width: int, dtype: torch.dtype, gradient: bool = True):
        with FakeTensorMode():
            x: Any = {n: torch.empty(2, 4, 8, width, dtype=dtype, device="cuda:0") for n in "qkv"}
            x[learned].requires_grad_(gradient)
        return choose(**x, rule=Rule("sigmoid"))

    refused = chosen(129, torch.float32)
    assert refused.implementation == "reference"
    assert "float32 heads up to 128 wide, not 129" in refused.reason
    for fit in (chosen(128, torch.float32), chosen(256, torch.bfloat16), chosen(256, torch.float32, False)):
        assert fit.implementation == KERNELS
    with torch.no_grad():
        assert chosen(256, torch.float32).implementation == KERNELS


def test_on_cuda_the_operator_says_the_shapes_of_its_outputs_and_gradients():
    with FakeTensorMode():
        q, k = (torch.empty(2, 4, n, 64, device="cuda:0", dtype=torch.bfloat16) for n in (8, 9))
        before = torch.empty(4, 17, device="cuda:0")
        rest = (before, None, None, None, None, None)
        for weights, shape in (("softmax", (2, 4, 8)), ("sigmoid", (0,))):
            switches = (weights, 0.0, False, None, None)
            out, lse = torch.ops.unimodal.rule_attention(q, k, k, *rest, *switches)
            assert (out.shape, lse.shape, lse.dtype) == ((2, 4, 8, 64), shape, torch.float32)
            wanted = [True, False, False]
            found = torch.ops.unimodal.rule_attention_backward(out, out, lse, q, k, k, *rest, *switches, wanted)
            assert [tuple(x.shape) for x in found] == [q.shape, k.shape, k.shape, before.shape, (0,), (0,)]
