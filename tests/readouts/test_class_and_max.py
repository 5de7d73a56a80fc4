"""The readout ``class_and_max``."""

import pytest
import torch

from unimodal.readouts.class_and_max import ClassAndMax
from unimodal.side import Side
from unimodal.tokens import Tokens


@pytest.mark.parametrize("layout", ["uniform", "padded", "packed"])
def test_it_is_the_first_token_and_the_largest_values_behind_the_prefix(layout):
    x, lengths = torch.randn(3, 9, 4) - 5, [9, 9, 9] if layout == "uniform" else [9, 3, 6]
    x[:, 1] = 99.0  # the second prefix token
    x[1, 3:] = 99.0
    side = Side(prefix=2) if layout == "uniform" else Side(prefix=2, lengths=torch.tensor(lengths))
    tokens = Tokens(x, side).packed() if layout == "packed" else Tokens(x, side)
    z = ClassAndMax(4)(tokens)
    for s, length in enumerate(lengths):
        most = [max(float(x[s, n, d]) for n in range(2, length)) for d in range(4)]
        assert z[s].tolist() == [*x[s, 0].tolist(), *most]


def test_tokens_without_a_prefix_are_refused():
    with pytest.raises(ValueError, match="no class token to read"):
        ClassAndMax(4)(Tokens(torch.randn(1, 5, 4)))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_raises(name):
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        ClassAndMax(4)(Tokens(torch.randn(1, 5, 4), Side(prefix=1).replace(**{name: torch.ones(5, 5).bool()})))
