"""Gaps are filled as numpy's interpolation does it, exactly at what was measured."""

import numpy as np
import torch

from unimodal.reading.gaps import fill_gaps


def test_gaps_lie_on_the_line_between_their_neighbours_and_ends_hold():
    x = torch.randn(5, 3, 40, dtype=torch.float64)
    holes = torch.rand(x.shape) < 0.4
    found = fill_gaps(x.masked_fill(holes, torch.nan))
    for b in range(5):
        for c in range(3):
            known = np.flatnonzero(~holes[b, c].numpy())
            expected = np.interp(np.arange(40), known, x[b, c].numpy()[known])
            np.testing.assert_allclose(found[b, c].numpy(), expected, atol=1e-12)


def test_a_series_without_gaps_is_itself_and_one_without_values_is_zero():
    x = torch.randn(2, 7)
    assert torch.equal(fill_gaps(x), x)
    assert torch.equal(fill_gaps(torch.full((2, 3), torch.nan)), torch.zeros(2, 3))
