"""The activation as a part: the named function and nothing else."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.ffns.activated import Activated


@pytest.mark.parametrize("name, function", [("gelu", F.gelu), ("relu", F.relu), ("silu", F.silu)])
def test_it_is_the_named_function(name, function):
    part, x = Activated(4, activation=name), torch.randn(2, 3, 4)
    assert torch.equal(part(x), function(x))
    assert not list(part.parameters())


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation must be one of"):
        Activated(4, activation="mish")
