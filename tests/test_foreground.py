"""Foreground: which cells a query reads, cell by cell."""

import torch

from unimodal.foreground import Foreground
from unimodal.part import Part


def test_a_cell_is_read_where_the_mean_of_the_masks_cells_around_its_middle_is_positive():
    masks = torch.randn(2, 3, 4, 6)
    seen = Foreground()(masks, (2, 3))
    for b in range(2):
        for n in range(3):
            for y in range(2):
                for x in range(3):  # the middle of a cell of twice the size lies between four
                    logit = masks[b, n, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
                    assert seen[b, 0, n, 3 * y + x] == (logit >= 0)


def test_a_mask_without_any_cell_opens_all_and_others_stay():
    masks = torch.full((1, 2, 2, 2), -1.0)
    masks[0, 1, 0, 0] = 1.0
    assert Foreground()(masks, (2, 2))[0, 0].tolist() == [[True] * 4, [True, False, False, False]]


def test_where_to_look_has_no_gradient():
    assert not Foreground()(torch.randn(1, 2, 2, 2, requires_grad=True), (1, 1)).requires_grad


def test_it_comes_back_from_json():
    assert Part.from_json(Part(Foreground).to_json()) == Part(Foreground)
