"""Tiles that go through oneDNN head by head: the same as the reference, with what is fused and with what is not."""

from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.kernels import tile_product, tile_work
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import reference, rule_attention

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")

TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 2e-2}
RULES = {
    "softmax": Rule(scale=0.3),
    "sigmoid": Rule("sigmoid", None),
    "causal sigmoid": Rule("sigmoid", None, causal=True),
    "causal softmax in a window": Rule(causal=True, window=9),
    "sigmoid in a window": Rule("sigmoid", -1.0, window=9),
}


@pytest.fixture(autouse=True)
def _every_size_head_by_head(monkeypatch):
    monkeypatch.setattr(tile_product, "FEWEST_CELLS", {torch.float32: 0, torch.bfloat16: 0})
    monkeypatch.setattr(tile_work, "CELLS", 900)
    monkeypatch.setattr(tile_work, "FEWEST", 7)


def problem(queries: int, keys: int, dtype: torch.dtype, *terms: str, batch: int = 1) -> dict[str, Tensor]:
    """Six heads on three key heads, strided as a mixer's, the same numbers in every dtype."""
    q, k, v = (torch.randn(batch, n, h, w) for n, h, w in ((queries, 6, 16), (keys, 3, 16), (keys, 3, 5)))
    size = 2 * max(queries, keys) - 1
    learned = {"before": torch.randn(6, size), "after": 1 + torch.randn(1, size) / 4}
    made = {"q": q.transpose(1, 2), "k": k.transpose(1, 2), "v": v.transpose(1, 2)}
    made |= {name: learned[name] for name in terms}
    return {n: t.bfloat16().to(dtype if n in "qkv" else torch.float32) for n, t in made.items()}


def with_gradients(run, leaves: dict[str, Tensor], **fixed: Any) -> list[Tensor]:
    used = {n: t.detach().clone().requires_grad_() for n, t in leaves.items()}
    out = run(**used, **fixed)
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).bfloat16().to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, list(used.values()), probe)]


def assert_near(dtype: torch.dtype, leaves: dict[str, Tensor], **fixed: Any) -> None:
    got = with_gradients(rule_attention, leaves, **fixed, implementation="require")
    expected = with_gradients(reference, {n: t.double() for n, t in leaves.items()}, **fixed)
    for a, b in zip(got, expected, strict=True):
        assert (a.double() - b).abs().max() <= TOLERANCE[dtype] * b.abs().max().clamp_min(1e-2)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("queries, keys", [(1, 1), (40, 40), (33, 57), (57, 33)])
@pytest.mark.parametrize("terms", [(), ("before", "after")])
@pytest.mark.parametrize("name", RULES)
def test_outputs_and_gradients_are_the_references(name, terms, queries, keys, dtype):
    if not terms and RULES[name].window is None and RULES[name].weights == "softmax":
        terms = ("before",)
    assert_near(dtype, problem(queries, keys, dtype, *terms), rule=RULES[name])


@pytest.mark.parametrize("name", RULES)
def test_padded_packed_and_masked_sequences_are_the_references(name):
    leaves, rule = problem(20, 20, torch.float32, "before", batch=3), RULES[name]
    assert_near(torch.float32, leaves, rule=rule, lengths=torch.tensor([20, 7, 0]))
    assert_near(torch.float32, leaves, rule=rule, mask=torch.rand(3, 1, 20, 20) < 0.5)
    one = problem(20, 20, torch.float32, "after")
    assert_near(torch.float32, one, rule=rule, cu_seqlens=torch.tensor([0, 3, 3, 20], dtype=torch.int32))


def test_the_level_of_a_fused_sigmoid_is_not_rounded_to_bfloat16():
    q, k, v = torch.zeros(1, 1, 300, 16), torch.zeros(1, 1, 300, 16), torch.ones(1, 1, 300, 4)
    rule = Rule("sigmoid", -11.0 - 2**-5)
    made = rule_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), rule, implementation="require")
    exact = 300 * torch.tensor(rule.level).sigmoid()
    # a weight and the sum are rounded, each by at most 2 ** -8; the level rounded to -11 would add 2 ** -5
    assert float(((made.float() - exact) / exact).abs().max()) <= 2 * 2**-8


def test_what_lies_outside_a_window_or_behind_a_query_has_no_influence():
    leaves = problem(40, 40, torch.float32)
    far = leaves | {n: leaves[n].index_fill(2, torch.tensor([30]), 1e3) for n in "kv"}
    for rule, unseeing in ((RULES["causal sigmoid"], slice(0, 30)), (RULES["sigmoid in a window"], slice(0, 21))):
        made, other = (rule_attention(x["q"], x["k"], x["v"], rule) for x in (leaves, far))
        assert torch.equal(made[:, :, unseeing], other[:, :, unseeing])
        assert not torch.equal(made[:, :, unseeing.stop], other[:, :, unseeing.stop])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_product_through_onednn_is_the_product_with_bias_and_function(dtype):
    x, w, b = torch.randn(1, 7, 5).to(dtype), torch.randn(1, 9, 5).to(dtype), torch.randn(9)
    plain = x.double() @ w.double().mT
    for one_head in (True, False):
        made = tile_product.product(x, w, one_head=one_head)
        assert made.dtype == dtype
        assert (made.double() - plain).abs().max() < TOLERANCE[dtype] * plain.abs().max()
    fused = tile_product.product(x, w, one_head=True, bias=b, function="sigmoid")
    assert (fused.double() - (plain + b.double()).sigmoid()).abs().max() < TOLERANCE[dtype]


def test_small_tiles_and_other_dtypes_go_several_heads_at_once(monkeypatch):
    monkeypatch.undo()
    assert not tile_product.one_head_at_a_time(torch.float32, 64 * 64)
    assert tile_product.one_head_at_a_time(torch.float32, 256 * 256)
    assert not tile_product.one_head_at_a_time(torch.float64, 256 * 256)
