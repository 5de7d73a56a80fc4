"""The first token of each sequence, in every layout."""

import pytest
import torch

from unimodal.readouts.first_token import FirstToken
from unimodal.side import Side
from unimodal.tokens import Tokens


@pytest.mark.parametrize("prefix", [0, 2])
def test_it_is_the_first_token_behind_the_prefix_in_every_layout(prefix):
    tokens = Tokens(torch.randn(3, 6, 4), Side(lengths=torch.tensor([3, 6, 4]), prefix=prefix))
    for given in (tokens, tokens.packed(), Tokens(tokens.x, Side(prefix=prefix))):
        assert torch.equal(FirstToken(4)(given), tokens.x[:, prefix])


def test_a_mask_is_refused():
    with pytest.raises(ValueError, match="'mask' is set and not supported"):
        FirstToken(4)(Tokens(torch.randn(1, 2, 4), Side(mask=torch.ones(1, 1, 2, 2, dtype=torch.bool))))
