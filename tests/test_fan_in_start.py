"""Fan-in start: the bounds of every map, what it leaves alone, and torch's own draw."""

import torch
import torch.nn as nn

from unimodal.chain import Chain
from unimodal.fan_in_start import fan_in_start
from unimodal.ffns.linear import Linear
from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part


def test_every_map_is_spread_within_its_bounds_and_norms_stay():
    part = Part(Chain, parts=(Part(BatchNorm), Part(Linear, width=64), Part(Depthwise, kernel=5)))
    made = Part(fan_in_start, part=part)(16)
    norm, linear, around = made.parts
    assert torch.equal(norm.weight, torch.ones(16))
    for layer, most in ((linear.project, 1 / 4), (around, 1 / 5)):
        for tensor in (layer.weight, layer.bias):
            assert 0.8 * most < float(tensor.detach().abs().max()) <= most
    assert made.width == 64
    assert {name: t.shape for name, t in made.state_dict().items()} == {
        name: t.shape for name, t in part(16).state_dict().items()
    }


def test_it_is_torchs_own_draw():
    torch.manual_seed(0)
    made = fan_in_start(12, part=Part(Linear, width=7, bias=False))
    torch.manual_seed(0)
    Linear(12, width=7, bias=False)
    expected = torch.empty(7, 12)
    nn.init.kaiming_uniform_(expected, a=5**0.5)
    torch.testing.assert_close(made.project.weight.detach(), expected)


def test_it_round_trips():
    part = Part(fan_in_start, part=Part(Linear, width=7))
    assert Part.from_json(part.to_json()) == part
