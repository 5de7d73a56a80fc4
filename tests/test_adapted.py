"""How much of an adapted model is trained."""

import torch.nn as nn

from unimodal.adapted import Adapted


def test_names_and_number_are_those_of_what_needs_a_gradient():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    found = Adapted(model, 26)
    assert (found.names, found.trained, found.total) == (("1.weight", "1.bias"), 10, 26)
    model.requires_grad_(False)
    assert (found.names, found.trained) == ((), 0)
