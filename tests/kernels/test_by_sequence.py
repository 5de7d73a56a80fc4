"""Each sequence of a packed batch by itself."""

import pytest
import torch
from torch import Tensor

from unimodal.kernels.by_sequence import by_sequence


def mixed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Something that hears every token of what it is given."""
    k, v = (t.repeat_interleave(2, dim=1) for t in (k, v))
    return q[..., :1] * k.sum((2, 3), keepdim=True) + v.mean(2, keepdim=True)


def packed(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(1, 4, tokens, 3), torch.randn(1, 2, tokens, 3), torch.randn(1, 2, tokens, 5)


@pytest.mark.parametrize("sizes", [(3, 4), (7,), (1, 2, 4)])
def test_a_sequence_is_as_it_is_alone_and_hears_no_other(sizes: tuple[int, ...]):
    q, k, v = packed(7)
    ends = torch.tensor([0, *sizes]).cumsum(0)
    out = by_sequence(mixed, q, k, v, ends)
    assert out.shape == (1, 4, 7, 5)
    for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        part = slice(start, stop)
        assert torch.equal(out[:, :, part], mixed(q[:, :, part], k[:, :, part], v[:, :, part]))


def test_without_sequences_there_are_no_tokens_and_values_keep_their_width():
    assert by_sequence(mixed, *packed(0), torch.tensor([0])).shape == (1, 4, 0, 5)
