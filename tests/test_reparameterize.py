"""The form for use: which parts take it, that the model is left alone, shared modules, refusals."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.dilated_reparam import DilatedReparam
from unimodal.reparameterize import reparameterize
from unimodal.side import Side


class Doubled(nn.Module):
    """y = 2 x, in use by one number."""

    def __init__(self) -> None:
        super().__init__()
        self.halves = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.halves.sum() * x

    def deployed(self) -> nn.Module:
        made = Doubled()
        made.halves = nn.Parameter(self.halves.detach().sum()[None])
        return made


def test_parts_of_any_make_say_their_form_for_use():
    model = nn.Sequential(Doubled(), nn.Sequential(nn.Linear(3, 3), Doubled())).eval()
    made: Any = reparameterize(model)
    x = torch.randn(2, 3)
    assert made[0].halves.shape == made[1][1].halves.shape == (1,)
    torch.testing.assert_close(made(x), model(x))
    assert not made.training


def test_the_model_is_left_as_it_is_and_shares_nothing():
    model = nn.Sequential(Doubled(), nn.Linear(3, 3)).eval()
    made = reparameterize(model)
    assert model[0].halves.shape == (2,)
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in made.parameters()}


def test_a_part_that_is_used_twice_stays_one():
    part = Doubled()
    made: Any = reparameterize(nn.ModuleList([part, nn.ModuleDict({"again": part})]).eval())
    assert made[0] is made[1]["again"]


def test_the_model_itself_may_be_such_a_part():
    mixer, x = DilatedReparam(2, kernel=7).double().eval(), torch.randn(1, 12, 2, dtype=torch.float64)
    made = reparameterize(mixer)
    assert isinstance(made, Depthwise)
    torch.testing.assert_close(made(x, Side(grid=(3, 4))), mixer(x, Side(grid=(3, 4))))


def test_a_model_in_training_is_refused():
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        reparameterize(nn.Sequential(Doubled()).train())


def test_a_model_without_such_parts_is_refused():
    with pytest.raises(ValueError, match="no part of the model has another form"):
        reparameterize(nn.Linear(2, 2).eval())
