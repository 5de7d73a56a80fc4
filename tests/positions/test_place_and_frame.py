"""Place and frame: their sum cell by cell, pictures as clips of one frame, and where training begins."""

import pytest
import torch

from unimodal.positions.place_and_frame import PlaceAndFrame
from unimodal.side import Side


def test_each_cell_gets_its_place_and_its_frame():
    position, x = PlaceAndFrame(5, grid=(2, 3), frames=4).eval(), torch.randn(2, 1 + 18, 5)
    y = position(x, Side(grid=(3, 2, 3), prefix=1))
    assert torch.equal(y[:, 0], x[:, 0])
    for t in range(3):
        for cell in range(6):
            added = position.frame[t] + position.place.table[cell]
            torch.testing.assert_close(y[:, 1 + 6 * t + cell], x[:, 1 + 6 * t + cell] + added, rtol=0, atol=1e-6)


def test_a_picture_is_a_clip_of_one_frame():
    position, x = PlaceAndFrame(5, grid=(2, 3)).eval(), torch.randn(2, 6, 5)
    assert torch.equal(position(x, Side(grid=(2, 3))), position(x, Side(grid=(1, 2, 3))))


def test_in_training_a_clip_begins_at_any_frame_and_stays_in_order():
    position, x = PlaceAndFrame(5, grid=(2, 3), frames=4).train(), torch.zeros(1, 12, 5)
    begun = set()
    for _ in range(40):
        y = position(x, Side(grid=(2, 2, 3)))[0, ::6] - position.place.table[0]
        near = [i for i in range(3) if torch.allclose(y, position.frame[i : i + 2], rtol=0, atol=1e-6)]
        begun.update(near)
        assert len(near) == 1
    assert begun == {0, 1, 2}


def test_places_are_resampled_for_another_lattice():
    position = PlaceAndFrame(5, grid=(2, 3)).eval()
    y = position(torch.zeros(1, 20, 5), Side(grid=(4, 5)))
    torch.testing.assert_close(y[0], position.place.on((4, 5)) + position.frame[0], rtol=0, atol=1e-6)


def test_wrong_requests_raise():
    with pytest.raises(ValueError, match="grid must be"):
        PlaceAndFrame(5, grid=(2, 3, 4))
    with pytest.raises(ValueError, match="frames positive"):
        PlaceAndFrame(5, grid=(2, 3), frames=0)
    position = PlaceAndFrame(5, grid=(2, 3), frames=2)
    with pytest.raises(ValueError, match="at most 2 frames"):
        position(torch.zeros(1, 18, 5), Side(grid=(3, 2, 3)))
    with pytest.raises(ValueError, match="at most 2 frames"):
        position(torch.zeros(1, 6, 5), Side(grid=(6,)))
