"""Patches against loops and the stems they belong to, and back without a difference."""

import numpy as np
import pytest
import torch

from unimodal.patches import patchify, unpatchify
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem


@pytest.mark.parametrize("patch, sizes", [((2, 3), (4, 9)), ((2, 3, 4), (4, 9, 8)), ((1, 1), (3, 2)), ((5, 4), (5, 4))])
def test_boxes_put_together_are_the_values_without_a_difference(patch, sizes):
    values, grid = torch.randn(2, 3, *sizes), tuple(n // p for n, p in zip(sizes, patch, strict=True))
    boxes = patchify(values, patch)
    assert boxes.shape == (2, np.prod(grid), 3 * np.prod(patch))
    assert torch.equal(unpatchify(boxes, grid, patch), values)
    assert torch.equal(patchify(unpatchify(boxes, grid, patch), patch), boxes)


def test_boxes_are_what_loops_cut_out():
    volume = torch.randn(2, 3, 4, 9, 8)
    boxes = patchify(volume, (2, 3, 4))
    for at, (z, y, x) in enumerate(np.ndindex(2, 3, 2)):
        box = volume[:, :, 2 * z : 2 * z + 2, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4]
        assert torch.equal(boxes[:, at], box.flatten(1))


def test_a_stem_projects_these_boxes_and_drops_what_they_drop():
    flat, deep = PatchStem(5, patch=4).double(), TubeletStem(5, patch=(2, 4, 3)).double()
    for stem, sizes, patch in ((flat, (9, 14), (4, 4)), (deep, (5, 9, 11), (2, 4, 3))):
        values = torch.randn(2, 3, *sizes, dtype=torch.float64)
        weight, bias = stem.project.weight.flatten(1), stem.get_parameter("project.bias")
        torch.testing.assert_close(stem(values).flatten(2).mT, patchify(values, patch) @ weight.mT + bias)


def test_values_of_other_axes_or_smaller_than_a_box_are_refused():
    with pytest.raises(ValueError, match=r"values of sizes \(4, 8\) have no boxes of \(2, 4, 4\)"):
        patchify(torch.zeros(1, 3, 4, 8), (2, 4, 4))
    with pytest.raises(ValueError, match=r"values of sizes \(3, 8\) have no boxes of \(4, 4\)"):
        patchify(torch.zeros(1, 3, 3, 8), (4, 4))


@pytest.mark.parametrize("shape", [(1, 5, 12), (1, 6, 13)])
def test_boxes_that_do_not_fill_the_grid_are_refused(shape):
    with pytest.raises(ValueError, match="do not fill a grid"):
        unpatchify(torch.zeros(shape), (2, 3), (2, 2))
