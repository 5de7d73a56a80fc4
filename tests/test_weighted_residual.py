"""Weighted residual: its equation, the block that two of them are, and what is skipped while training."""

import pytest
import torch

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.weighted_residual import WeightedResidual


def test_two_of_them_with_numbers_of_one_are_a_block():
    block = Block(8, mixer=Part(Full, heads=2), ffn=Part(Plain))
    first, second = (WeightedResidual(8, branch=part) for part in (Part(Full, heads=2), Part(Plain)))
    for half, norm, branch in ((first, block.norm_mixer, block.mixer), (second, block.norm_ffn, block.ffn)):
        half.norm, half.branch = norm, branch
    x, side = torch.randn(2, 5, 8), Side(causal=True)
    assert torch.equal(second(first(x, side), side), block(x, side))


def test_both_numbers_are_trained_and_do_what_the_equation_says():
    part, x = WeightedResidual(8, branch=Part(Plain)).double(), torch.randn(2, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        part.kept.fill_(0.25)
        part.added.fill_(-3.0)
    branch = part.branch(part.norm(x))
    torch.testing.assert_close(part(x), 0.25 * x - 3.0 * branch, rtol=0, atol=1e-14)
    into = torch.randn(2, 5, 8, dtype=torch.float64)
    kept, added = torch.autograd.grad(part(x), [part.kept, part.added], into)
    torch.testing.assert_close(kept, (into * x).sum(), rtol=0, atol=1e-12)
    torch.testing.assert_close(added, (into * branch).sum(), rtol=0, atol=1e-12)


def test_a_sequence_skips_the_branch_as_often_as_said_and_only_while_training():
    part, x = WeightedResidual(8, branch=Part(Plain), drop_path=0.25), torch.randn(4000, 1, 8)
    torch.manual_seed(0)
    skipped = (part.train()(x) == x).all(-1).float().mean()
    assert abs(skipped - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    assert torch.equal(part.eval()(x), WeightedResidual.forward(part, x))
    assert not (part(x) == x).all(-1).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match="drop_path is a probability below 1"):
        WeightedResidual(8, branch=Part(Plain), drop_path=rate)
