"""Run lengths: the encoding as loops, polygons, label maps, and what is refused."""

import sys

import numpy as np
import pytest

from unimodal.errors import MissingExtraError
from unimodal.run_lengths import areas, boxes_of, decode, encode, from_label_map, overlaps, parsed, to_label_map

mask_library = pytest.importorskip("pycocotools.mask")


def in_loops(mask: np.ndarray) -> list[int]:
    """Runs of zeros and ones in turn, columns first, zeros first."""
    runs, value = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if bool(mask[row, column]) != value:
                runs.append(0)
                value = not value
            runs[-1] += 1
    return runs


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_a_mask_is_the_runs_of_its_columns(share):
    mask = np.random.default_rng(0).random((37, 53)) < share
    runs = encode(mask)
    assert parsed({"size": [37, 53], "counts": in_loops(mask)}, (37, 53)) == runs
    assert parsed(dict(runs), (37, 53)) == runs
    assert np.array_equal(decode(runs), mask)
    assert areas([runs]).tolist() == [mask.sum()]


def test_long_runs_survive_the_compression():
    mask = np.zeros((700, 900), bool)
    mask[3:600, 200:201] = mask[50:52, 400:800] = True
    assert parsed(dict(encode(mask)), (700, 900)) == encode(mask)


def test_the_box_of_a_mask_is_its_outer_edges():
    mask = np.zeros((10, 20), bool)
    mask[2:5, 7:19] = True
    assert boxes_of([encode(mask), encode(np.zeros((10, 20)))]).tolist() == [[7, 2, 19, 5], [0, 0, 0, 0]]
    assert boxes_of([]).shape == (0, 4)
    assert areas([]).shape == (0,)


def test_polygons_are_joined_to_one_mask():
    square, other = [2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0], [8, 0, 10, 0, 10, 4, 8, 4]
    expected = np.zeros((7, 12), bool)
    expected[1:5, 2:6] = expected[0:4, 8:10] = True
    assert np.array_equal(decode(parsed([square, other], (7, 12))), expected)


def test_overlaps_are_the_shared_part_of_the_union_and_with_crowds_of_what_was_found():
    rng = np.random.default_rng(0)
    mine, its = rng.random((3, 9, 8)) < 0.5, rng.random((2, 9, 8)) < 0.6
    shared = overlaps([encode(m) for m in mine], [encode(m) for m in its], [False, True])
    for i, a in enumerate(mine):
        assert shared[i, 0] == pytest.approx((a & its[0]).sum() / (a | its[0]).sum())
        assert shared[i, 1] == pytest.approx((a & its[1]).sum() / a.sum())
    assert overlaps([], [encode(its[0])], [False]).shape == (0, 1)
    assert overlaps(np.array([[0, 0, 4, 2.0]]), np.array([[2, 0, 4, 2.0]]), [False]).tolist() == [[1 / 3]]


def test_a_label_map_survives_and_of_masks_that_overlap_the_first_has_the_pixel():
    labels = np.zeros((12, 9), np.uint16)
    labels[1:4, 1:4], labels[6:, 2:5] = 700, 3
    masks = from_label_map(labels)
    assert [int(a) for a in areas(masks)] == [18, 9]
    assert np.array_equal(to_label_map(masks, (12, 9)), np.select([labels == 3, labels == 700], [1, 2]))
    both = np.ones((12, 9), bool)
    assert (to_label_map([masks[0], encode(both)], (12, 9)) == np.where(labels == 3, 1, 2)).all()
    assert from_label_map(np.zeros((3, 3), int)) == []


@pytest.mark.parametrize(
    "segmentation, words",
    [
        ("words", "neither polygons nor run lengths"),
        ([], "neither polygons nor run lengths"),
        ([[1, 1, 2, 2]], "at least three corners"),
        ([[1, 1, 2, 2, 3, 3, 4]], "at least three corners"),
        ([[1, 1, 2, 2, 3, float("nan")]], "no numbers or far outside"),
        ([[1, 1, 2, 2, 3, 1e9]], "no numbers or far outside"),
        ([[1, 1, 2, 2, 3, "4"]], "no numbers or far outside"),
        ({"size": [5, 4], "counts": [20]}, r"of the size \[5, 4\], not \[4, 5\]"),
        ({"counts": [20]}, "of the size None"),
        ({"size": [4, 5], "counts": [21]}, "of 21 pixels, not 4 x 5"),
        ({"size": [4, 5], "counts": [30, -10]}, "no list of counts"),
        ({"size": [4, 5]}, "no list of counts"),
        ({"size": [4, 5], "counts": "zz~~"}, "no list of counts"),
        ({"size": [4, 5], "counts": "oooo"}, "no list of counts"),
        ({"size": [4, 5], "counts": "5555"}, "of [0-9]+ pixels, not 4 x 5"),
    ],
)
def test_damaged_segmentations_are_refused(segmentation, words):
    with pytest.raises(ValueError, match=words):
        parsed(segmentation, (4, 5))


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingExtraError, match=r"pycocotools is not installed.*unimodal\[detection\]"):
        encode(np.ones((2, 2)))
