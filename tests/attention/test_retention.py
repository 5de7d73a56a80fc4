"""Retention: its equation, the published decays, three forms that agree, and the released code's scores."""

import pytest
import torch
from torch import Tensor

from unimodal.attention.retention import RetentionAttention
from unimodal.side import Side
from unimodal.tokens import Tokens


def heads(rows=2, tokens=9, groups=4) -> list[Tensor]:
    return [torch.randn(rows, h, tokens, 6, dtype=torch.float64) for h in (4, groups, groups)]


def plain(q, k, v, scale=6**-0.5) -> Tensor:
    """sum_{m <= n} g^(n-m) (scale q_n k_m) v_m, g = 1 - 2^(-5-h), pair by pair."""
    o = torch.zeros_like(q)
    for h in range(q.shape[1]):
        g = 1 - 2.0 ** (-5 - h)
        for n in range(q.shape[2]):
            for m in range(n + 1):
                o[:, h, n] += g ** (n - m) * scale * (q[:, h, n] * k[:, h, m]).sum(-1, keepdim=True) * v[:, h, m]
    return o


@pytest.mark.parametrize("norm", ["rms", "group"])
@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_the_equation_and_is_always_causal(norm, causal):
    q, k, v = heads(groups=2)
    o = plain(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    o = o - o.mean(-1, keepdim=True) if norm == "group" else o
    expected = o / (o.square().mean(-1, keepdim=True) + 1e-3).sqrt()
    found = RetentionAttention(heads=4, norm=norm, eps=1e-3)(q, k, v, Side(causal=causal))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def released(q, k, v, eps) -> Tensor:
    """The parallel form of multiscale_retention.py: decays over the root of their sum, scores over at least 1."""
    tokens, place = q.shape[2], torch.arange(q.shape[2])
    g = 1 - 2.0 ** (-5 - torch.arange(4, dtype=torch.float64))
    decay = (g[:, None, None] ** (place[:, None] - place).clamp(min=0)).tril()
    decay = decay / decay.sum(-1, keepdim=True).sqrt()
    score = q @ (k * 6**-0.5).mT * decay
    score = score / score.detach().sum(-1, keepdim=True).abs().clamp(min=1)
    o = score @ v
    assert o.shape[2] == tokens
    return o / (o.square().mean(-1, keepdim=True) + eps).sqrt()


@pytest.mark.parametrize("eps", [1e-6, 1e-1])
def test_normalised_scores_are_those_of_the_released_code_with_gradients(eps):
    q, k, v = leaves = [(t * 5).requires_grad_() for t in heads(tokens=70)]
    probe = torch.randn(2, 4, 70, 6, dtype=torch.float64)
    found = RetentionAttention(heads=4, scores="normalised", eps=eps)(q, k, v)
    expected = released(q, k, v, eps)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for one, other in zip(*(torch.autograd.grad(o, leaves, probe) for o in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * float(other.abs().max()))


def test_the_norm_undoes_what_normalising_the_scores_does_but_for_eps():
    q, k, v = (t * 5 for t in heads())
    one, other = (RetentionAttention(heads=4, scores=scores, eps=0.0)(q, k, v) for scores in ("plain", "normalised"))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    one, other = (RetentionAttention(heads=4, scores=scores, eps=0.1)(q, k, v) for scores in ("plain", "normalised"))
    assert (one - other).abs().max() > 1e-2


def test_normalised_scores_of_packed_sequences_count_from_their_own_start():
    rule = RetentionAttention(heads=4, scores="normalised", eps=0.1)
    q, k, v = heads(rows=1, tokens=12)
    packed = rule(q, k, v, Side(cu_seqlens=torch.tensor([0, 5, 12])))
    for span in (slice(0, 5), slice(5, 12)):
        alone = rule(q[:, :, span], k[:, :, span], v[:, :, span])
        torch.testing.assert_close(packed[:, :, span], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pieces", [(1,) * 140, (64, 64, 12), (3, 130, 7)])
def test_recurrent_chunked_and_parallel_forms_agree(pieces):
    rule, (q, k, v) = RetentionAttention(heads=4), heads(tokens=140, groups=2)
    state, found = None, []
    for x, y, z in zip(*(t.split(pieces, 2) for t in (q, k, v)), strict=True):
        o, state = rule.advance(x, y, z, state)
        assert state.shape == (2, 4, 6, 6)
        found.append(o)
    chunked = rule(q, k, v)
    torch.testing.assert_close(torch.cat(found, 2), chunked, rtol=0, atol=1e-11)
    pairs = RetentionAttention(heads=4, implementation="reference")(q, k, v)
    torch.testing.assert_close(chunked, pairs, rtol=0, atol=1e-11)


def test_far_tokens_fade_by_the_published_factor_of_each_head():
    """One key of weight 1 in front and queries of ones: without the norm's division the values are powers of g."""
    q, k, v = torch.ones(3, 1, 8, 65, 1, dtype=torch.float64)
    k[:, :, 1:] = 0.0
    state = None
    rule = RetentionAttention(heads=8)
    _, state = rule.advance(q, k, v, state)
    g = 1 - 2.0 ** (-5 - torch.arange(8, dtype=torch.float64))
    torch.testing.assert_close(state.flatten(), g**64, rtol=1e-12, atol=0)


def test_what_does_not_fit_raises():
    with pytest.raises(ValueError, match="norm must be 'rms' or 'group', not 'layer'"):
        RetentionAttention(heads=4, norm="layer")
    with pytest.raises(ValueError, match="scores must be 'plain' or 'normalised', not 'softmax'"):
        RetentionAttention(heads=4, scores="softmax")
    q, k, v = heads()
    with pytest.raises(ValueError, match="heads is 3, and q has 4"):
        RetentionAttention(heads=3)(q, k, v)
    with pytest.raises(ValueError, match="scores must be 'plain' where a state is carried"):
        RetentionAttention(heads=4, scores="normalised").advance(q, k, v)
    with pytest.raises(ValueError, match="'bias' is set and not supported"):
        RetentionAttention(heads=4)(q, k, v, Side(bias=torch.zeros(9)))
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        RetentionAttention(heads=4)(q, k, v, Side(memory=Tokens(torch.zeros(1, 1, 1))))
    packed = Side(cu_seqlens=torch.tensor([0, 9]), mask=torch.ones(9).bool())
    with pytest.raises(ValueError, match="no mask"):
        RetentionAttention(heads=4)(q[:1], k[:1], v[:1], packed)
