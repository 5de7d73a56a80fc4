"""Reach: the lattice of a stem, and which length leaves nothing behind its last cell."""

import pytest

from unimodal.reach import Reach
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.stems.patch import PatchStem


@pytest.mark.parametrize(
    "stem, width, step", [(PatchStem(4), 16, 16), (OverlappingPatchStem(4), 16, 10), (PatchStem(4, patch=3), 3, 3)]
)
def test_width_and_step_are_those_of_the_patches(stem, width, step):
    reach = Reach(stem, (48,))
    assert (reach.width, reach.step) == (width, step)


@pytest.mark.parametrize("stem", [PatchStem(4), OverlappingPatchStem(4), OverlappingPatchStem(4, patch=3, stride=5)])
def test_a_whole_length_is_the_least_one_with_its_last_place_in_a_cell(stem):
    reach = Reach(stem, (48,))
    for length in range(1, 70):
        whole = reach.whole(length)
        assert whole >= length
        cells = reach.cells(whole)[-1]
        assert whole == reach.width + (cells - 1) * reach.step
        assert whole == reach.width or whole - reach.step < length


def test_a_stem_without_cells_for_these_rows_is_refused():
    with pytest.raises(ValueError, match="fewer than 1 cells"):
        Reach(PatchStem(4), (15,))
