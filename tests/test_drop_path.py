"""Stochastic depth."""

import pytest
import torch

from unimodal.drop_path import drop_path, ramp
from unimodal.side import Side


def test_whole_sequences_are_dropped_and_the_others_scaled():
    out = drop_path(torch.ones(1000, 3, 2), 0.25, Side())
    per_row = out.flatten(1)
    assert (per_row == per_row[:, :1]).all()
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 1 / 0.75]))


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("packed", [False, True])
def test_the_expectation_is_the_branch_itself(rate, packed):
    draws = 20_000
    branch = torch.ones(1, 2 * draws, 1) if packed else torch.ones(draws, 2, 1)
    side = Side(cu_seqlens=2 * torch.arange(draws + 1)) if packed else Side()
    mean = drop_path(branch, rate, side).mean()
    deviation = (rate / (1 - rate) / draws) ** 0.5
    assert abs(mean - 1) < 4 * deviation


def test_a_packed_batch_draws_once_a_sequence_and_as_the_padded_one():
    lengths = torch.randint(0, 6, (200,))
    cu = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).int()
    torch.manual_seed(7)
    packed = drop_path(torch.ones(1, int(cu[-1]), 2), 0.4, Side(cu_seqlens=cu))
    torch.manual_seed(7)
    padded = drop_path(torch.ones(200, 6, 2), 0.4, Side(lengths=lengths))
    assert torch.equal(packed[0], torch.cat([row[:n] for row, n in zip(padded, lengths.tolist(), strict=True)]))
    assert 0 < (packed == 0).float().mean() < 1


def test_the_dtype_is_kept_and_dropped_sequences_get_no_gradient():
    branch = torch.ones(64, 3, 2, dtype=torch.bfloat16, requires_grad=True)
    out = drop_path(branch, 0.5, Side())
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert branch.grad is not None
    assert torch.equal(branch.grad, out.detach())


def test_rates_grow_linearly_over_the_blocks_of_all_stages():
    rates = ramp((1, 2, 2), 0.2)
    assert [len(stage) for stage in rates] == [1, 2, 2]
    assert sum(rates, ()) == pytest.approx((0.0, 0.05, 0.1, 0.15, 0.2))
    assert ramp((1,), 0.3) == ((0.0,),)
