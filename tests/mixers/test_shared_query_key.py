"""The mixer ``shared_query_key`` is full attention with one projection for queries and keys."""

import pytest
import torch

from unimodal.attention.relative_bias import RelativeBiasAttention
from unimodal.mixers.full import Full
from unimodal.mixers.shared_query_key import SharedQueryKey
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens


def as_full(mixer: SharedQueryKey, dim: int, heads: int, **settings) -> Full:
    full = Full(dim, heads=heads, **settings).double()
    own = mixer.state_dict()
    for name in ("weight", "bias"):
        shared, value = own.pop(f"to_sv.{name}").chunk(2)
        own[f"to_qkv.{name}"] = torch.cat([shared, shared, value])
    full.load_state_dict(own)
    return full


@pytest.mark.parametrize("attention", [None, Part(RelativeBiasAttention, heads=3)])
@pytest.mark.parametrize("side", [Side(), Side(causal=True), Side(lengths=torch.tensor([7, 3]))])
def test_it_equals_full_attention_with_the_same_weights_twice(attention, side):
    settings = {} if attention is None else {"attention": attention}
    mixer = SharedQueryKey(12, heads=3, **settings).double()
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(mixer(x, side), as_full(mixer, 12, 3, **settings)(x, side), rtol=0, atol=1e-12)


def test_gradients_are_right_and_reach_every_parameter():
    mixer = SharedQueryKey(4, heads=2).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mixer, (x,))
    mixer(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in mixer.parameters())


def test_it_has_a_third_fewer_projection_weights_than_full_attention():
    shared, full = SharedQueryKey(12, heads=3, bias=False), Full(12, heads=3, bias=False)
    counts = [sum(p.numel() for p in m.parameters()) for m in (shared, full)]
    assert counts[1] - counts[0] == 12 * 12


def test_heads_that_do_not_divide_and_a_memory_are_refused():
    with pytest.raises(ValueError, match="dim 10 is not a multiple of heads 4"):
        SharedQueryKey(10, heads=4)
    x = torch.randn(1, 3, 8)
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        SharedQueryKey(8, heads=2)(x, Side(memory=Tokens(x, Side())))
