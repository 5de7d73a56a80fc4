"""The stem ``overlapping_patch`` against its equation, the published count of a spectrogram, and its limit."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.stems.patch import PatchStem


def test_each_token_is_the_projection_of_its_rectangle():
    stem = OverlappingPatchStem(5, patch=(4, 3), stride=(3, 2), channels=2).double()
    picture = torch.randn(1, 2, 12, 8, dtype=torch.float64)
    cells = stem(picture)
    bias = stem.project.bias
    assert bias is not None
    assert cells.shape == (1, 5, 3, 3)
    for y in range(3):
        for x in range(3):
            box = picture[0, :, 3 * y : 3 * y + 4, 2 * x : 2 * x + 3]
            for d in range(5):
                value = (stem.project.weight[d] * box).sum() + bias[d]
                torch.testing.assert_close(cells[0, d, y, x], value)


def test_a_spectrogram_of_ten_seconds_has_the_published_number_of_patches():
    stem = OverlappingPatchStem(4, channels=1)
    assert stem.cells((128, 1024)) == (12, 101)  # Gong et al. 2021, sec. 2.1: 12 rows, N = 1212 in all
    assert stem(torch.zeros(1, 1, 128, 1024)).shape[2:] == (12, 101)


def test_with_a_stride_of_its_patch_it_is_the_patch_stem():
    overlapping, patch = OverlappingPatchStem(6, patch=4, stride=4), PatchStem(6, patch=4)
    patch.load_state_dict(overlapping.state_dict())
    picture = torch.randn(2, 3, 9, 12)
    assert torch.equal(overlapping(picture), patch(picture))


def test_a_picture_smaller_than_the_patch_has_no_cells():
    assert OverlappingPatchStem(4, patch=5, stride=2).cells((4, 9)) == (0, 3)


def test_without_a_bias_a_dark_picture_gives_nothing():
    assert not OverlappingPatchStem(6, bias=False)(torch.zeros(1, 3, 16, 16)).any()


@pytest.mark.parametrize("sizes", [(12, 8), (11, 13)])
def test_padding_is_zeros_around_the_picture(sizes):
    padded = OverlappingPatchStem(5, patch=7, stride=4, padding=2)
    bare = OverlappingPatchStem(5, patch=7, stride=4)
    bare.load_state_dict(padded.state_dict())
    picture = torch.randn(2, 3, *sizes)
    cells = padded(picture)
    assert padded.cells(sizes) == tuple(cells.shape[2:])
    torch.testing.assert_close(cells, bare(F.pad(picture, (2, 2, 2, 2))), rtol=0, atol=1e-6)


def test_the_stride_is_one_number_where_both_axes_have_it():
    assert OverlappingPatchStem(4, stride=(4, 4)).stride == OverlappingPatchStem(4, stride=4).stride == 4
    assert OverlappingPatchStem(4, stride=(4, 2)).stride == (4, 2)


def test_patches_of_a_clip_overlap_in_time_where_they_are_longer_than_their_step():
    stem = OverlappingPatchStem(5, patch=(3, 2, 4), stride=(2, 2, 4), padding=(1, 0, 0), channels=2).double()
    clip = torch.randn(1, 2, 6, 5, 9, dtype=torch.float64)
    cells, padded = stem(clip), F.pad(clip, (0, 0, 0, 0, 1, 1))
    bias = stem.project.bias
    assert bias is not None
    assert cells.shape == (1, 5, 3, 2, 2)
    assert stem.cells((6, 5, 9)) == (3, 2, 2)
    for t in range(3):
        for y in range(2):
            for x in range(2):
                box = padded[0, :, 2 * t : 2 * t + 3, 2 * y : 2 * y + 2, 4 * x : 4 * x + 4]
                value = (stem.project.weight * box).sum((1, 2, 3, 4)) + bias
                torch.testing.assert_close(cells[0, :, t, y, x], value)


def test_a_stride_of_other_axes_than_the_patch_is_refused():
    with pytest.raises(ValueError, match="must be of two or three axes, the same for all, not patch=.3, 4, 4., stride"):
        OverlappingPatchStem(4, patch=(3, 4, 4), stride=(4, 4))


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match="padding must not be negative, not -1"):
        OverlappingPatchStem(4, padding=-1)
