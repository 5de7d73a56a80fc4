"""k-means: the paper's update in loops, Lloyd's algorithm, no gradient through the choice, order, padding, refusals."""

import pytest
import torch

from unimodal.k_means import KMeans
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens


def drawn(**options):
    torch.manual_seed(1)
    layer = KMeans(6, **options).double().eval()
    return layer, torch.randn(2, 4, 6, dtype=torch.float64), torch.randn(2, 30, 6, dtype=torch.float64)


def reading(memory, **constraints):
    return Side(memory=Tokens(memory), **constraints)


@pytest.mark.parametrize("norm", [None, Part(BatchNorm)])
def test_a_query_is_updated_by_the_sum_of_the_tokens_that_chose_it(norm):
    layer, x, memory = drawn(width=5, values=7, norm=norm)
    q, k, v = layer.to_q(x), layer.to_k(memory), layer.to_v(memory)
    sums = torch.zeros(2, 4, 7, dtype=torch.float64)
    for b in range(2):
        for m in range(30):
            scores = [(q[b, n] @ k[b, m]).item() for n in range(4)]
            sums[b, scores.index(max(scores))] += v[b, m]
    torch.testing.assert_close(sums.sum(1), v.sum(1))  # every token went to exactly one query
    expected = layer.to_out(sums if layer.norm is None else layer.norm(sums))
    torch.testing.assert_close(layer(x, reading(memory)), expected, rtol=0, atol=1e-12)


def test_repeated_with_means_it_is_lloyds_algorithm():
    torch.manual_seed(2)
    points = (torch.randn(5, 2) * 4).repeat_interleave(40, 0).double() + torch.randn(200, 2, dtype=torch.float64)
    centres, lloyd = points[:5].clone(), points[:5].clone()
    layer = KMeans(3).double()  # the third channel is 1 and counts
    with torch.no_grad():
        for linear in (layer.to_q, layer.to_k, layer.to_v, layer.to_out):
            linear.weight.copy_(torch.eye(3))
        layer.to_out.bias.zero_()
    counted = torch.cat([points, torch.ones(200, 1, dtype=torch.float64)], 1)[None]
    for _ in range(5):
        bias = -centres.square().sum(1)[:, None].expand(5, 200) / 2
        x = torch.cat([centres, torch.zeros(5, 1, dtype=torch.float64)], 1)[None]
        sums = layer(x, reading(counted, bias=bias))[0].detach()
        centres = sums[:, :2] / sums[:, 2:]
        groups: list[list[torch.Tensor]] = [[] for _ in range(5)]
        for point in points:
            groups[min(range(5), key=lambda n: float((point - lloyd[n]).square().sum()))].append(point)
        lloyd = torch.stack([torch.stack(group).mean(0) for group in groups])
        assert sums[:, 2].tolist() == [len(group) for group in groups]
        torch.testing.assert_close(centres, lloyd, rtol=0, atol=1e-12)


def test_the_update_has_no_gradient_through_the_choice_and_the_scores_have():
    layer, x, memory = drawn()
    x.requires_grad_()
    memory.requires_grad_()
    values = torch.autograd.grad(layer(x, reading(memory)).square().sum(), memory)[0]
    assert float(values.abs().min(-1).values.max()) > 0
    with pytest.raises(RuntimeError, match="appears to not have been used"):
        torch.autograd.grad(layer(x, reading(memory)).sum(), x)
    of_scores = torch.autograd.grad(layer.scores(x, reading(memory)).square().sum(), [x, layer.to_q.weight])
    assert all(float(g.abs().max()) > 0 for g in of_scores)
    assert torch.autograd.gradcheck(lambda m: layer(x.detach(), reading(m)), memory.detach().requires_grad_())


def test_the_order_of_queries_is_kept_and_that_of_tokens_does_not_matter():
    layer, x, memory = drawn()
    out = layer(x, reading(memory))
    torch.testing.assert_close(layer(x.flip(1), reading(memory)), out.flip(1))
    torch.testing.assert_close(layer(x, reading(memory.flip(1))), out)


def test_padding_of_queries_and_of_tokens_has_no_influence():
    layer, x, memory = drawn()
    out = layer(x, reading(memory))
    wide_x, wide_memory = torch.cat([x, 9 * x], 1), torch.cat([memory, 9 * memory], 1)
    tokens = Tokens(wide_memory, Side(lengths=torch.tensor([30, 30])))
    made = layer(wide_x, Side(memory=tokens, lengths=torch.tensor([4, 4])))
    torch.testing.assert_close(made[:, :4], out, rtol=0, atol=1e-14)


def test_a_token_goes_only_where_the_mask_lets_it():
    layer, x, memory = drawn()
    mask = torch.zeros(4, 30, dtype=torch.bool)
    mask[1, :20] = True
    out = layer(x, reading(memory, mask=mask))
    nothing = layer.to_out(torch.zeros(6, dtype=torch.float64))
    assert torch.equal(out[:, 2], nothing.expand(2, -1))
    torch.testing.assert_close(out[:, 1], layer.to_out(layer.to_v(memory[:, :20]).sum(1)))


def test_what_it_cannot_honour_is_refused():
    layer, x, memory = drawn()
    with pytest.raises(ValueError, match="side.mask could differ between, and it has 3"):
        layer(x, reading(memory, mask=torch.ones(1, 3, 4, 30, dtype=torch.bool)))
    with pytest.raises(ValueError, match="needs a memory"):
        layer(x)
    with pytest.raises(ValueError, match="side.bias could differ"):
        layer(x, reading(memory, bias=torch.zeros(1, 3, 4, 30)))
    with pytest.raises(ValueError, match="'causal'"):
        layer(x, Side(causal=True))
    with pytest.raises(ValueError, match="'cu_seqlens'"):
        layer(x, Side(cu_seqlens=torch.tensor([0, 2, 4])))
    with pytest.raises(ValueError, match="'causal'"):
        layer(x, Side(memory=Tokens(memory, Side(causal=True))))
