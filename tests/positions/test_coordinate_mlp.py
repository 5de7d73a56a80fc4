"""The position part ``coordinate_mlp`` against its equation."""

import math

import pytest
import torch

from unimodal.positions.coordinate_mlp import CoordinateMLP
from unimodal.side import Side
from unimodal.tokens import Tokens


def mapped(part, c):
    """W2 gelu(W1 c + b1) + b2, one number at a time."""
    hidden = []
    for row, b in zip(part.to_hidden.weight.tolist(), part.to_hidden.bias.tolist(), strict=True):
        a = sum(w * x for w, x in zip(row, c, strict=True)) + b
        hidden.append(a * 0.5 * (1 + math.erf(a / math.sqrt(2))))
    rows = zip(part.to_out.weight.tolist(), part.to_out.bias.tolist(), strict=True)
    return torch.tensor([sum(w * h for w, h in zip(row, hidden, strict=True)) + b for row, b in rows]).double()


@pytest.fixture
def part():
    return CoordinateMLP(5, hidden=7).double()


def test_each_token_gets_the_map_of_its_coordinates_and_the_prefix_nothing(part):
    x, c = torch.randn(2, 6, 5).double(), torch.randn(2, 6, 3).double()
    y = part(x, Side(positions=c, prefix=2))
    assert torch.equal(y[:, :2], x[:, :2])
    for b in range(2):
        for n in range(2, 6):
            torch.testing.assert_close(y[b, n], x[b, n] + mapped(part, c[b, n].tolist()))


def test_a_lattice_of_fewer_axes_lies_in_a_plane(part):
    x = torch.zeros(1, 7, 5).double()
    y = part(x, Side(grid=(2, 3), prefix=1))
    for n, cell in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]):
        torch.testing.assert_close(y[0, 1 + n], mapped(part, (*map(float, cell), 0.0)))


def test_packed_sequences_have_their_prefix_each(part):
    x, c = torch.randn(2, 6, 5).double(), torch.randn(2, 6, 3).double()
    tokens = Tokens(x, Side(positions=c, prefix=2, lengths=torch.tensor([6, 4])))
    packed = tokens.packed()
    rows = packed.replace(part(packed.x, packed.side)).split()
    for row, other in zip(rows, tokens.replace(part(x, tokens.side)).split(), strict=True):
        torch.testing.assert_close(row, other)


def test_more_coordinates_than_it_takes_are_refused(part):
    with pytest.raises(ValueError, match="tokens have 4 coordinates, and this position part takes 3"):
        part(torch.zeros(1, 2, 5).double(), Side(positions=torch.zeros(1, 2, 4)))


def test_without_positions_and_lattice_it_is_refused(part):
    with pytest.raises(ValueError, match=r"side\.grid"):
        part(torch.zeros(1, 2, 5).double())
