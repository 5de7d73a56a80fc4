"""Softmax attention by oneDNN's products against the reference, and where it is not taken."""

import pytest
import torch

from unimodal.kernels import attention as kernel
from unimodal.kernels.product_attention import choose, product_attention

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")
avx512 = pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="chosen with AVX-512 only")


def drawn(n: int, m: int, *, heads=2, groups=2, width=64, value=64, dtype=torch.float32):
    sizes = ((heads, n, width), (groups, m, width), (groups, m, value))
    return tuple(torch.randn(2, h, length, w).to(dtype) for h, length, w in sizes)


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1), (63, 100), (100, 63), (257, 257), (1100, 1000)],  # the last one takes three tiles of rows
    ids=str,
)
@pytest.mark.parametrize("heads, groups, width, value", [(2, 2, 64, 64), (4, 2, 32, 48), (3, 1, 128, 16)])
def test_outputs_are_those_of_the_reference(sizes, heads, groups, width, value, scale):
    q, k, v = drawn(*sizes, heads=heads, groups=groups, width=width, value=value)
    want = kernel.reference(q.double(), k.double(), v.double(), scale=scale)
    got = product_attention(q, k, v, scale=scale)
    assert (got.dtype, got.shape) == (torch.float32, want.shape)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=5e-6 * want.abs().max().item())


def test_bfloat16_keeps_logits_in_float32():
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 kernel")
    q, k, v = drawn(100, 257, dtype=torch.bfloat16)
    for scale in (None, 4.0):  # logits of up to 100, which bfloat16 would round by a quarter
        want = kernel.reference(q.double(), k.double(), v.double(), scale=scale)
        got = product_attention(q, k, v, scale=scale)
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-2 * want.abs().max().item())


def test_heads_inside_of_tokens_are_read_where_they_lie():
    x = torch.randn(2, 70, 3, 4, 32)
    q, k, v = (t.transpose(1, 2) for t in x.unbind(2))
    want = product_attention(q.contiguous(), k.contiguous(), v.contiguous())
    assert torch.equal(product_attention(q, k, v), want)


@avx512
def test_attention_takes_it_for_long_sequences_alone_and_packed_with_equal_bits():
    q, k, v = (torch.randn(1, 2, 500, 64) for _ in range(3))
    cu_seqlens = torch.tensor([0, 300, 300, 500])
    packed = kernel.attention(q, k, v, cu_seqlens=cu_seqlens)
    for a, b in ((0, 300), (300, 500)):
        alone = [t[:, :, a:b] for t in (q, k, v)]
        assert choose(*alone).implementation == "products of oneDNN"
        assert torch.equal(packed[:, :, a:b], product_attention(*alone))


@avx512
def test_gradients_come_from_torchs_own_way():
    q, k, v = (t.requires_grad_() for t in drawn(300, 300))
    assert choose(q, k, v).reason == "a gradient is asked for"
    kernel.attention(q, k, v).sum().backward()
    assert all(t.grad is not None for t in (q, k, v))
    with torch.no_grad():
        assert choose(q, k, v).implementation == "products of oneDNN"


@avx512
def test_a_traced_program_keeps_torchs_operator():
    class Rule(torch.nn.Module):
        def forward(self, q, k, v):
            return kernel.attention(q, k, v)

    with torch.no_grad():
        program = torch.export.export(Rule(), drawn(300, 300))
    assert "scaled_dot_product_attention" in program.graph_module.code
    assert "mkldnn" not in program.graph_module.code


@avx512
def test_flops_are_counted_where_torchs_way_is_asked_for():
    q, k, v = drawn(300, 300)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert choose(q, k, v).reason == "torch's own way was asked for"


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"dtype": torch.float64}, "does not take torch.float64"),
        ({"n": 100}, "100 x 300 logits are too few"),
    ],
    ids=["dtype", "few"],
)
def test_arguments_that_do_not_fit_are_refused_with_the_reason(change, reason):
    sizes = {"n": 300, "m": 300} | change
    q, k, v = drawn(**sizes)
    with pytest.raises(RuntimeError, match=reason):
        choose(q, k, v, implementation="require")


def test_another_device_is_refused():
    q, k, v = (t.to("meta") for t in drawn(300, 300))
    assert choose(q, k, v).reason == "it lies on meta, not on the CPU"
