"""Masks."""

import torch

from unimodal.masks import keys_within


def test_the_first_keys_of_each_row_are_allowed():
    mask = keys_within(torch.tensor([0, 2, 4]), 4)
    assert mask.shape == (3, 1, 1, 4)
    assert mask[:, 0, 0].tolist() == [[False] * 4, [True, True, False, False], [True] * 4]
