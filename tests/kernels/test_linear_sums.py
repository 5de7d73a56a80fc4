"""The Triton sums in the interpreter against all pairs in float64, and compiled for processors that are not there."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from unimodal.kernels import linear_attention_triton
from unimodal.kernels.ahead_of_time import SHARED_BYTES, compile_ahead, variant_of
from unimodal.kernels.linear_reference import reference
from unimodal.kernels.linear_rule import LinearRule
from unimodal.kernels.linear_sums import summed

TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHUNKS = linear_attention_triton.CHUNKS


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE == "cpu":
        monkeypatch.setattr(linear_attention_triton, "CHUNKS", {2: 16, 4: 16})


def inputs(tokens: int, *, keys: int | None = None, heads=2, key_heads=1, rows=1, decayed=False) -> dict[str, Tensor]:
    """Exact in bfloat16; positive values, so that no sum of a normaliser cancels."""
    sizes = {"q": (heads, tokens, 8), "k": (key_heads, keys or tokens, 8), "v": (key_heads, keys or tokens, 5)}
    found = {n: torch.randn(rows, *size).bfloat16().to(DEVICE) for n, size in sizes.items()}
    return found | ({"decay": torch.linspace(-0.5, 0.0, heads).to(DEVICE)} if decayed else {})


def gradients(run, leaves: dict[str, Tensor], dtype: torch.dtype, **fixed) -> list[Tensor]:
    used = {n: t.to(torch.promote_types(dtype, torch.float32) if n == "decay" else dtype) for n, t in leaves.items()}
    used = {n: t.clone().requires_grad_() for n, t in used.items()}
    o = run(**used, **fixed)
    assert o.dtype == dtype
    probe = torch.randn(o.shape, generator=torch.Generator().manual_seed(3)).bfloat16().to(DEVICE)
    o.backward(probe.to(dtype))
    return [o.detach().double(), *(t.grad.double() for t in used.values() if t.grad is not None)]


def agree(leaves: dict[str, Tensor], rule: LinearRule, dtype: torch.dtype, **fixed) -> None:
    got = gradients(summed, leaves, dtype, rule=rule, **fixed)
    if "seen" in fixed:
        fixed = {"mask": fixed["seen"].mT}
    want = gradients(reference, leaves, torch.float64, rule=rule, **fixed)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[dtype] * float(b.abs().max().clamp(min=1e-2)))


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal, decayed", [(False, False), (True, False), (True, True)])
def test_outputs_and_gradients_are_those_of_all_pairs(causal, decayed, dtype, tokens):
    agree(inputs(tokens, decayed=decayed), LinearRule("elu", causal=causal), dtype)


@pytest.mark.parametrize("causal, decayed", [(False, False), (True, True)])
def test_groups_of_heads_rows_normalisers_and_hidden_keys(causal, decayed):
    rule = LinearRule("elu_plus_one", causal=causal, normalised=True, eps=0.1)
    leaves = inputs(20, heads=4, key_heads=2, rows=2, decayed=decayed)
    agree(leaves, rule, torch.float32)
    for shape in ((2, 1, 20, 1), (1, 4, 20, 1)):
        agree(leaves, rule, torch.float32, seen=torch.rand(shape, device=DEVICE) < 0.5)


@pytest.mark.parametrize("causal, decayed", [(False, False), (True, True)])
def test_packed_sequences_do_not_meet(causal, decayed):
    cu = torch.tensor([0, 17, 17, 18, 40], dtype=torch.int32, device=DEVICE)
    agree(inputs(40, decayed=decayed), LinearRule(causal=causal), torch.float32, cu_seqlens=cu)


def test_without_order_there_may_be_more_keys_than_queries():
    agree(inputs(5, keys=40), LinearRule("relu"), torch.float32)
    agree(inputs(40, keys=5), LinearRule("relu"), torch.float32)


def test_later_tokens_have_no_influence():
    leaves, rule = inputs(40), LinearRule(causal=True)
    far = leaves | {n: leaves[n].index_fill(2, torch.tensor([20], device=DEVICE), 99.0) for n in "kv"}
    before, after = summed(**leaves, rule=rule), summed(**far, rule=rule)
    assert torch.equal(before[:, :, :20], after[:, :, :20])
    assert not torch.equal(before[:, :, 20:], after[:, :, 20:])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_the_operator_obeys_the_rules_of_torch_operators():
    q, k, v, decay = (t.float().requires_grad_() for t in inputs(17, decayed=True).values())
    torch.library.opcheck(torch.ops.unimodal.linear_sums.default, (q, k, v, decay, None, True))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80, 90])
def test_the_heaviest_variants_compile_ahead_of_time_without_spilled_registers(architecture, monkeypatch):
    monkeypatch.setattr(linear_attention_triton, "CHUNKS", CHUNKS)
    variants = []
    for dtype, width, causal in ((torch.bfloat16, 128, True), (torch.float32, 64, True), (torch.bfloat16, 64, False)):
        q, k, v = (torch.empty(2, 4, 256, width, dtype=dtype, device="meta") for _ in range(3))
        decay, cu = torch.empty(4, device="meta"), torch.empty(3, dtype=torch.int32, device="meta")
        terms = (decay, cu) if causal else (None, None)
        named, _ = linear_attention_triton.arguments(q, k, v, *terms, causal=causal, reverse=causal)
        warps = linear_attention_triton.warps(named["WIDTH"], q.element_size())
        variants.append(variant_of(linear_attention_triton._sums, named, num_warps=warps, num_stages=2))
    for found in compile_ahead(variants, architecture=architecture):
        assert found.spilled_bytes == 0
        assert found.shared_bytes <= SHARED_BYTES[architecture]
