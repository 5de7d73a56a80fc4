"""Queries with positions and values without: what it is in terms of the mixer, its limit and refusals."""

import pytest
import torch

from unimodal.mixers.deformable import Deformable
from unimodal.mixers.located_queries import LocatedQueries
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

LEVELS = ((2, 3), (4, 5))
MIXER = Part(Deformable, heads=3, levels=2, points=2)


def made() -> LocatedQueries:
    mixer = LocatedQueries(12, mixer=MIXER)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def test_places_and_weights_come_from_the_sum_and_values_from_the_tokens():
    mixer, x, at = made(), torch.randn(2, 26, 12), torch.randn(1, 26, 12)
    side = Side(levels=LEVELS)
    expected = mixer.mixer(x + at, side.replace(memory=Tokens(x, side)))
    assert torch.equal(mixer(x, side.replace(positions=at)), expected)


def test_without_positions_it_is_the_mixer():
    mixer, x = made(), torch.randn(2, 26, 12)
    torch.testing.assert_close(mixer(x, Side(levels=LEVELS)), mixer.mixer(x, Side(levels=LEVELS)))


def test_positions_get_gradients():
    at = torch.randn(1, 26, 12, requires_grad=True)
    made()(torch.randn(2, 26, 12), Side(levels=LEVELS, positions=at)).square().sum().backward()
    assert at.grad is not None
    assert at.grad.any()


@pytest.mark.parametrize(
    "side, said",
    [(Side(levels=LEVELS, positions=torch.zeros(1, 26, 2)), "width 12, not 2"), (Side(causal=True), "causal")],
)
def test_what_has_no_meaning_here_is_refused(side, said):
    with pytest.raises(ValueError, match=said):
        made()(torch.randn(2, 26, 12), side)
