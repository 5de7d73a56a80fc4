"""Dropout behind a mixer: its equation with a known draw, and the mixer itself out of training."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.mixers.dropout import DropoutMixer
from unimodal.mixers.full import Full
from unimodal.part import Part


def test_while_training_each_number_is_dropped_or_scaled_as_drawn():
    mixer, x = DropoutMixer(8, mixer=Part(Full, heads=2), rate=0.25).train().double(), torch.randn(2, 5, 8).double()
    torch.manual_seed(3)
    y = mixer(x)
    torch.manual_seed(3)
    kept = F.dropout(torch.ones(2, 5, 8, dtype=torch.float64), 0.25)
    assert {0.0, 1 / 0.75} == set(kept.unique().tolist())
    torch.testing.assert_close(y, mixer.mixer(x) * kept, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_without_dropping_it_is_the_mixer(rate, training):
    mixer, x = DropoutMixer(8, mixer=Part(Full, heads=2), rate=rate).train(training), torch.randn(2, 5, 8)
    assert torch.equal(mixer(x), mixer.mixer(x))


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_probability_below_one_raises(rate):
    with pytest.raises(ValueError, match=f"rate is a probability below 1, not {rate}"):
        DropoutMixer(8, rate=rate)
