"""The packed linear map against plain torch."""

import pytest
import torch

from unimodal.kernels.linear import ACTIVATIONS, choose, linear, pack, reference

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")


@pytest.mark.parametrize("rows", [(1,), (3, 63), (2, 100), (257,), (0, 5), (2, 0)])
@pytest.mark.parametrize("inputs, outputs", [(48, 144), (63, 1), (1, 65), (192, 768)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_plain_map(rows, inputs, outputs, bias):
    x, weight = torch.randn(*rows, inputs), torch.randn(outputs, inputs)
    b = torch.randn(outputs) if bias else None
    want = reference(x.double(), weight.double(), None if b is None else b.double())
    got = linear(x, pack(weight), b)
    assert got.dtype == torch.float32
    assert got.shape == want.shape
    scale = want.abs().max().item() if want.numel() else 1.0
    torch.testing.assert_close(got.double(), want, rtol=0, atol=5e-6 * scale)


def test_views_that_are_not_contiguous_give_the_same():
    x, weight = torch.randn(4, 48, 7).mT, torch.randn(96, 48).T.contiguous().T
    torch.testing.assert_close(linear(x, pack(weight), None), reference(x, weight, None), rtol=0, atol=1e-4)


def test_bfloat16_equals_the_plain_map_where_the_processor_has_it():
    weight = torch.randn(65, 48).bfloat16()
    if choose(weight).implementation == "reference":
        with pytest.raises(RuntimeError, match="does not take torch.bfloat16"):
            pack(weight)
        return
    x, bias = torch.randn(3, 7, 48).bfloat16(), torch.randn(65).bfloat16()
    want = reference(x.double(), weight.double(), bias.double())
    got = linear(x, pack(weight), bias)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-2 * want.abs().max().item())


@pytest.mark.parametrize("which", ["x", "bias"])
def test_a_gradient_is_refused(which):
    x = torch.randn(3, 8, requires_grad=which == "x")
    bias = torch.randn(4, requires_grad=which == "bias")
    packed = pack(torch.randn(4, 8))
    with pytest.raises(RuntimeError, match="has no gradient"):
        linear(x, packed, bias)
    with torch.no_grad():
        linear(x, packed, bias)


@pytest.mark.parametrize(
    "weight, reason",
    [
        (torch.zeros(4, 8, dtype=torch.float64), "does not take torch.float64"),
        (torch.zeros(4, 8, device="meta"), "lies on meta"),
        (torch.zeros(0, 8), "it is empty"),
    ],
)
def test_a_weight_that_cannot_be_packed_is_refused_with_the_reason(weight, reason):
    assert choose(weight).implementation == "reference"
    with pytest.raises(RuntimeError, match=reason):
        pack(weight)


@pytest.mark.parametrize("dtype, error", [(torch.float32, 5e-6), (torch.bfloat16, 2e-2)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_behind_the_map_equal_those_of_torch(activation, dtype, error):
    weight = torch.randn(96, 48).to(dtype)
    if choose(weight).implementation == "reference":
        pytest.skip(choose(weight).reason)
    x, bias = torch.randn(3, 31, 48).to(dtype), torch.randn(96).to(dtype)
    want = reference(x.double(), weight.double(), bias.double(), activation=activation)
    got = linear(x, pack(weight), bias, activation=activation)
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), want, rtol=0, atol=error * want.abs().max().item())


def test_an_activation_that_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="activation must be one of gelu, gelu_tanh, relu, silu, tanh, not 'exp'"):
        linear(torch.randn(3, 8), pack(torch.randn(4, 8)), None, activation="exp")
