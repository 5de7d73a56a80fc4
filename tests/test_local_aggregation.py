"""Local aggregation against its equations, token by token."""

import math

import pytest
import torch

from unimodal.local_aggregation import LocalAggregation
from unimodal.same_cell import SameCell

REAL = torch.ones(2, 6, dtype=torch.bool)


@pytest.fixture
def part():
    part = LocalAggregation(5, views=2, share=0.4).double()
    for name, tensor in part.state_dict().items():
        tensor.uniform_(0.5, 1.5) if "var" in name else tensor.normal_()
    return part.eval()


@pytest.fixture
def given():
    x, cells = torch.randn(2, 6, 5, dtype=torch.float64), torch.randint(3, (3, 2, 6))
    return x, SameCell(cells[0], REAL), [SameCell(cells[1], REAL), SameCell(cells[2], REAL)], cells


def mixed(x, mask):
    """Some attention: the mean of the tokens seen, turned."""
    return (mask[:, 0].to(x.dtype) @ x).roll(1, -1)


ATTEND = (mixed, lambda x, mask: 0.5 * x)


def gelu(v):
    return torch.tensor([0.5 * a * (1 + math.erf(a / 2**0.5)) for a in v.tolist()]).double()


def norm(bn, v):
    return gelu((v - bn.running_mean) / (bn.running_var + bn.eps).sqrt() * bn.weight + bn.bias)


def test_it_equals_the_equations(part, given):
    x, space, views, cells = given
    out = part(x, space, views, ATTEND)
    for b in range(2):
        for n in range(6):
            group = [i for i in range(6) if cells[0, b, i] == cells[0, b, n]]
            guide = norm(part.norm_space, x[b, group].max(0).values + x[b, group].mean(0))
            branches, likeness = [], []
            for m in range(2):
                heard = x[b] + ATTEND[m](x, views[m].mask)[b]
                group = [i for i in range(6) if cells[1 + m, b, i] == cells[1 + m, b, n]]
                branches.append(norm(part.norm_views[m], heard[group].mean(0)))
                cosine = branches[-1] @ guide / branches[-1].norm() / guide.norm()
                likeness.append((float(cosine) + 1) / 2)
            told = sum(w / sum(likeness) * branch for w, branch in zip(likeness, branches, strict=True))
            torch.testing.assert_close(out[b, n], x[b, n] + 0.4 * told)


def test_weights_of_views_are_positive_and_their_sum_is_one():
    weights = LocalAggregation.weights(torch.randn(6, 2, 7, 5), torch.randn(2, 7, 5))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(2, 7))


def test_views_that_agree_with_space_alike_count_alike():
    guide = torch.randn(2, 7, 5)
    torch.testing.assert_close(
        LocalAggregation.weights(guide.expand(6, -1, -1, -1), guide), torch.full((6, 2, 7), 1 / 6)
    )


def test_a_view_opposite_to_space_is_not_heard_and_nothing_divides_by_zero():
    guide = torch.randn(1, 3, 5).double()
    weights = LocalAggregation.weights(torch.stack([-guide, guide]), guide)
    torch.testing.assert_close(weights, torch.tensor([0.0, 1.0]).double()[:, None, None].expand(2, 1, 3))
    assert LocalAggregation.weights(torch.stack([-guide, -guide]), guide).isfinite().all()


def test_at_share_zero_tokens_stay_as_they_are(given):
    x, space, views, _ = given
    assert torch.equal(LocalAggregation(5, views=2, share=0.0).double()(x, space, views, ATTEND), x)


def test_statistics_in_training_count_a_cell_once(part, given):
    x, _, views, _ = given
    cells = torch.tensor([[0, 0, 0, 0, 0, 1], [3, 3, 2, 2, 2, 2]])
    space = SameCell(cells, REAL)
    part.train()
    part.norm_space.momentum = 1.0
    part(x, space, views, ATTEND)
    groups = [x[0, :5], x[0, 5:], x[1, :2], x[1, 2:]]
    pooled = torch.stack([group.max(0).values + group.mean(0) for group in groups])
    torch.testing.assert_close(part.norm_space.running_mean, pooled.mean(0))
    torch.testing.assert_close(part.norm_space.running_var, pooled.var(0))


def test_training_with_the_statistics_of_the_batch_gives_what_use_gives_with_them(part, given):
    x, space, views, _ = given
    norms = [part.norm_space, *part.norm_views]
    for bn in norms:
        bn.momentum = 1.0
    trained = part.train()(x, space, views, ATTEND)
    for bn, cells in zip(norms, [space, *views], strict=True):
        count = int(cells.heads.sum())
        bn.running_var.mul_((count - 1) / count)  # running averages have Bessel's correction
    torch.testing.assert_close(part.eval()(x, space, views, ATTEND), trained)


def test_no_views_are_refused():
    with pytest.raises(ValueError, match="views must be positive, not 0"):
        LocalAggregation(5, views=0)
