"""Another readout's vector, made one long."""

import torch

from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.readouts.unit_length import UnitLength
from unimodal.tokens import Tokens


def test_it_equals_the_equation():
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    out = UnitLength(4, pool=Part(Mean))(Tokens(x))
    for b in range(3):
        mean = [sum(x[b, n, d].item() for n in range(5)) / 5 for d in range(4)]
        length = sum(v * v for v in mean) ** 0.5
        torch.testing.assert_close(out[b], torch.tensor(mean, dtype=torch.float64) / length)


def test_a_vector_of_zeros_stays_one():
    assert not UnitLength(4, pool=Part(Mean))(Tokens(torch.zeros(1, 2, 4))).any()


def test_large_values_in_half_precision_do_not_overflow():
    x = torch.full((1, 2, 4), 60_000.0, dtype=torch.float16)
    assert torch.equal(UnitLength(4, pool=Part(Mean))(Tokens(x)), torch.full((1, 4), 0.5, dtype=torch.float16))
