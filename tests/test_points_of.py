"""Where tokens are in space: by their positions, or by their lattice."""

import pytest
import torch

from unimodal.points_of import points_of
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_positions_go_before_the_lattice_and_the_prefix_has_no_place():
    place = torch.randn(2, 7, 3)
    points, real = points_of(Tokens(torch.zeros(2, 7, 4), Side(positions=place, grid=(2, 3), prefix=1)))
    assert torch.equal(points, place[:, 1:])
    assert real.all()
    assert real.shape == (2, 6)


def test_a_lattice_lies_in_a_plane():
    points, _ = points_of(Tokens(torch.zeros(2, 7, 4), Side(grid=(2, 3), prefix=1)))
    cells = [(0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 0, 0), (1, 1, 0), (1, 2, 0)]
    assert torch.equal(points, torch.tensor([cells, cells]).float())


def test_padding_is_told_from_tokens():
    side = Side(positions=torch.randn(2, 5, 2), prefix=1, lengths=torch.tensor([5, 3]))
    points, real = points_of(Tokens(torch.zeros(2, 5, 4), side))
    assert real.tolist() == [[True] * 4, [True, True, False, False]]
    assert not points[..., 2].any()


def test_a_packed_batch_is_refused():
    side = Side(positions=torch.randn(1, 5, 3), cu_seqlens=torch.tensor([0, 2, 5], dtype=torch.int32))
    with pytest.raises(ValueError, match=r"packed batch \(cu_seqlens\)"):
        points_of(Tokens(torch.zeros(1, 5, 4), side))


def test_more_than_three_coordinates_are_refused():
    with pytest.raises(ValueError, match="tokens have 4 coordinates, and space has 3"):
        points_of(Tokens(torch.zeros(1, 5, 4), Side(positions=torch.randn(1, 5, 4))))


def test_tokens_without_a_place_are_refused():
    with pytest.raises(ValueError, match=r"side\.grid"):
        points_of(Tokens(torch.zeros(1, 5, 4)))
