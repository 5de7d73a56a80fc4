"""The linear map: torch's, its width, and norms that go into it."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.ffns.linear import Linear


@pytest.mark.parametrize("width, bias", [(None, True), (7, False)])
def test_it_is_torchs_linear_map(width, bias):
    layer, x = Linear(5, width=width, bias=bias), torch.randn(2, 3, 5)
    assert torch.equal(layer(x), F.linear(x, layer.project.weight, layer.project.bias))
    assert layer.width == (width or 5)


def test_norms_on_either_side_go_into_it():
    layer, x = Linear(2, width=3, bias=False).double(), torch.randn(1, 4, 2).double()
    torch.nn.init.normal_(layer.project.weight)
    a2, b2, a3, b3 = (torch.randn(n).double() for n in (2, 2, 3, 3))
    torch.testing.assert_close(layer.scaled(a3, b3)(x), a3 * layer(x) + b3)
    torch.testing.assert_close(layer.preceded(a2, b2)(x), layer(a2 * x + b2))


def test_a_width_of_nothing_is_refused():
    with pytest.raises(ValueError, match="width must be positive, not 0"):
        Linear(3, width=0)
