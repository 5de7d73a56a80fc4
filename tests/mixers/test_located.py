"""Attention with positions in queries and keys only: its equation, its limits, influence and refusals."""

import pytest
import torch

from unimodal.mixers.full import Full
from unimodal.mixers.located import Located
from unimodal.side import Side
from unimodal.tokens import Tokens


def in_loops(mixer, x, p, m, p_m):
    to_q, to_k, to_v = mixer.to_qkv.weight.chunk(3)
    b_q, b_k, b_v = mixer.to_qkv.bias.chunk(3)
    rows = []
    for n in range(len(x)):
        heads = []
        for h in range(mixer.heads):
            part = slice(h * 3, h * 3 + 3)
            q = (to_q @ (x[n] + p[n]) + b_q)[part]
            gate = torch.stack([((to_k @ (m[j] + p_m[j]) + b_k)[part] @ q / 3**0.5).exp() for j in range(len(m))])
            value = torch.stack([(to_v @ m[j] + b_v)[part] for j in range(len(m))])
            heads.append((gate[:, None] * value).sum(0) / gate.sum())
        rows.append(mixer.to_out(torch.cat(heads)))
    return torch.stack(rows)


@pytest.mark.parametrize("crossing", [True, False])
def test_outputs_and_gradients_are_the_equations(crossing):
    mixer = Located(6, heads=2).double()
    x, p, m, p_m = (torch.randn(n, 6, dtype=torch.float64, requires_grad=True) for n in (4, 4, 5, 5))
    memory = Tokens(m[None], Side(positions=p_m[None])) if crossing else None
    made = mixer(x[None], Side(positions=p[None], memory=memory))[0]
    expected = in_loops(mixer, x, p, *((m, p_m) if crossing else (x, p)))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    of, to = (x, p, *((m, p_m) if crossing else ())), torch.randn_like(made)
    for own, theirs in zip(torch.autograd.grad(made, of, to), torch.autograd.grad(expected, of, to), strict=True):
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-12)


def test_without_positions_it_is_full_attention():
    mixer, full, x = Located(6, heads=2), Full(6, heads=2), torch.randn(2, 5, 6)
    full.load_state_dict(mixer.state_dict())
    for side in (Side(), Side(memory=Tokens(torch.randn(2, 3, 6)))):
        torch.testing.assert_close(mixer(x, side), full(x, side))


def test_with_one_key_positions_have_no_influence_as_values_are_without_them():
    mixer, x, m = Located(6, heads=2), torch.randn(2, 5, 6), torch.randn(2, 1, 6)
    plain, placed = Side(memory=Tokens(m)), Side(memory=Tokens(m, Side(positions=torch.randn(1, 1, 6))))
    assert torch.equal(mixer(x, plain), mixer(x, placed.replace(positions=torch.randn(1, 5, 6))))


@pytest.mark.parametrize(
    "side, said",
    [
        (Side(positions=torch.zeros(1, 5, 2)), "width 6, not 2"),
        (Side(memory=Tokens(torch.zeros(2, 3, 6), Side(positions=torch.zeros(1, 3, 2)))), "width 6, not 2"),
        (Side(memory=Tokens(torch.zeros(2, 3, 6)), causal=True), "causal"),
        (Side(memory=Tokens(torch.zeros(2, 3, 6), Side(causal=True))), "causal"),
    ],
)
def test_what_has_no_meaning_here_is_refused(side, said):
    with pytest.raises(ValueError, match=said):
        Located(6, heads=2)(torch.randn(2, 5, 6), side)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="not a multiple of heads 4"):
        Located(6, heads=4)
