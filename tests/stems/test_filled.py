"""The stem ``filled`` against zeros put there by hand, and its limit."""

import pytest
import torch

from unimodal.part import Part
from unimodal.stems.filled import FilledStem
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.stems.patch import PatchStem


@pytest.mark.parametrize("sizes", [(8, 12), (9, 12), (5, 3)])
def test_pixels_behind_the_last_whole_patch_are_seen_beside_zeros(sizes):
    stem, pixels = FilledStem(6, stem=Part(PatchStem, patch=4)), torch.randn(2, 3, *sizes)
    whole = torch.zeros(2, 3, 12, 12)
    whole[:, :, : sizes[0], : sizes[1]] = pixels
    rows, columns = stem.cells(sizes)
    cells = stem(pixels)
    assert cells.shape == (2, 6, rows, columns)
    torch.testing.assert_close(cells, stem.stem(whole)[:, :, :rows, :columns], rtol=0, atol=1e-6)


def test_whole_patches_are_left_to_the_stem():
    stem, pixels = FilledStem(6), torch.randn(1, 3, 32, 48)
    assert (stem.stride, stem.channels) == (16, 3)
    assert torch.equal(stem(pixels), stem.stem(pixels))


def test_a_stem_of_two_strides_is_refused():
    with pytest.raises(ValueError, match="one stride for both axes"):
        FilledStem(6, stem=Part(OverlappingPatchStem, stride=(2, 4)))
