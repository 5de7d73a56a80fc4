"""The tokenizer ``ct``: working grids, tokens and the way back; files are tested beside this."""

import itertools
import json

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.reading.volume_record import VolumeRecord
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokenizers.ct import CT

nibabel = pytest.importorskip("nibabel")
BOX = Part(TubeletStem, patch=(2, 4, 4), channels=1)


def scan(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(-1000, 1500, shape).astype(np.int16)


def nifti(values: np.ndarray, affine: np.ndarray | None = None, kind: type = nibabel.Nifti1Image) -> bytes:
    return kind(values, np.eye(4) if affine is None else affine).to_bytes()


def restored(sample) -> np.ndarray:
    return sample.record.restore(sample.record.units(sample.data))[0].numpy()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_each_orientation_comes_back_to_its_own_grid_as_nibabel_turns_it(order, signs):
    values, affine = scan(5, 6, 7), np.eye(4)
    affine[:3, :3] = (np.diag([1.5, 2, 3]) @ np.diag(signs))[:, list(order)]
    affine[:3, :3] = affine[:3, :3] @ np.diag([1, 1.25, 2])
    affine[:3, 3] = [-9, 8, 7]
    angle = np.radians(17)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    sample = CT(8, size=None, fit="native", stem=BOX).read(nifti(values, affine))
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(values, affine))
    seen = canonical.get_fdata().transpose(2, 1, 0)
    z, y, x = seen.shape
    np.testing.assert_allclose(sample.record.units(sample.data)[0, :z, :y, :x], seen, atol=1e-3)
    np.testing.assert_allclose(np.array(sample.record.model_affine), canonical.affine[:, [2, 1, 0, 3]], atol=1e-5)
    np.testing.assert_allclose(restored(sample), values, atol=1e-3)


def test_axes_within_the_size_keep_their_voxels_and_are_filled_with_their_last_ones():
    values = scan(3, 9, 16)
    sample = CT(8, size=(8, 16, 16), stem=BOX).read((values, (1, 1, 1)))
    voxels = sample.record.units(sample.data)[0]
    assert voxels.shape == (4, 12, 16)
    for z, y, x in np.ndindex(4, 12, 16):
        assert float(voxels[z, y, x]) == pytest.approx(values[min(z, 2), min(y, 8), x], abs=1e-3)


def test_longer_axes_are_averaged_over_what_they_hold():
    """Twice as many voxels, by the triangle of an antialiased linear filter: weights 1 3 3 1 over 8."""
    ramp = np.zeros((8, 4, 16), np.float32) + np.arange(16) ** 2
    sample = CT(8, size=(8, 4, 8), stem=BOX, window=(0.0, 2.0)).read((ramp, (1, 1, 1)))
    voxels = sample.record.units(sample.data)[0]
    for x in range(1, 7):
        expected = sum(w * (2 * x + d) ** 2 for d, w in zip((-1, 0, 1, 2), (1, 3, 3, 1), strict=True)) / 8
        assert float(voxels[3, 2, x]) == pytest.approx(expected, rel=1e-5)
    assert sample.record.scale == (1, 1, 2)


def test_crop_takes_the_middle_and_restore_leaves_the_rest_open():
    values = scan(4, 20, 9)
    sample = CT(8, size=(4, 8, 8), stem=BOX, fit="crop").read((values, (1, 1, 1)))
    np.testing.assert_allclose(sample.record.units(sample.data)[0], values[:, 6:14, :8], atol=1e-3)
    assert sample.record.offset == (0, 6, 0)
    back = restored(sample)
    np.testing.assert_allclose(back[:, 6:14, :8], values[:, 6:14, :8], atol=1e-3)
    assert np.isnan(back[:, :6]).all()
    labels = sample.record.restore(torch.ones(2, 2, 2, dtype=torch.uint8))
    assert labels[:, 6:14, :8].eq(1).all()
    assert labels.eq(255).sum() == 4 * 20 * 9 - 4 * 8 * 8


def test_a_spacing_asked_for_is_kept_and_places_stay_where_they_are():
    z, y, x = np.mgrid[:10, :12, :14]
    values = (3.0 * z + 2.0 * y - x).astype(np.float32)  # linear, so interpolation is exact away from the border
    affine = np.diag([2.0, 1.5, 1.0, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = [5, 6, 7]
    sample = CT(8, size=(32, 32, 32), stem=BOX, spacing=(1.0, 1.0, 0.5), window=(0.0, 1.0)).read((values, affine))
    assert sample.record.size == (20, 20, 28)
    assert sample.record.scale == (0.5, 12 / 18, 0.5)
    voxels = sample.record.units(sample.data)[0]
    for m in [(6, 7, 8), (11, 9, 20)]:
        right, anterior, superior = sample.record.to_mm(torch.tensor(m)).tolist()
        at = ((superior - 7) / 2, (anterior - 6) / 1.5, right - 5)
        assert float(voxels[m]) == pytest.approx(3 * at[0] + 2 * at[1] - at[2], abs=1e-3)


def test_a_map_over_cells_lies_where_the_cells_voxels_are():
    record = CT(8, size=None, fit="native", stem=BOX).read((scan(4, 8, 8), (1, 1, 1))).record
    cells = torch.arange(8).view(2, 2, 2)
    back = record.restore(cells)
    for i, j, k in np.ndindex(4, 8, 8):
        assert back[i, j, k] == cells[i // 2, j // 4, k // 4]


def test_tokens_are_projections_of_boxes_in_the_order_of_z_y_x():
    ct = CT(6, size=None, fit="native", stem=BOX)
    sample = ct.read((scan(4, 8, 12), (1, 1, 1)))
    tokens = ct(ct.collate([sample]))
    assert tokens.side.grid == sample.record.grid == (2, 2, 3)
    weight, bias = ct.stem.project.weight.double(), ct.stem.project.bias.double()
    for n, (z, y, x) in enumerate(np.ndindex(2, 2, 3)):
        box = sample.data[:, 2 * z : 2 * z + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].double()
        expected = torch.stack([(weight[d] * box).sum() + bias[d] for d in range(6)])
        torch.testing.assert_close(tokens.x[0, n].double(), expected, rtol=1e-4, atol=1e-4)


def test_detokenize_and_the_record_give_the_scan_back_through_a_prefix():
    ct = CT(40, size=None, fit="native", stem=BOX)
    scans = [scan(4, 8, 8), scan(3, 9, 5)]
    batch = ct.collate([ct.read((values, (1, 1, 1))) for values in scans])
    tokens = ct(batch).padded()
    longer = tokens.replace(torch.cat([torch.randn(2, 1, 40), tokens.x], 1), prefix=1, lengths=tokens.side.lengths + 1)
    for values, found, record in zip(scans, ct.detokenize(longer).data, batch.records, strict=True):
        np.testing.assert_allclose(record.restore(record.units(found))[0], values, atol=0.5)


def test_what_cannot_be_inverted_says_why():
    narrow = CT(31, stem=BOX)
    with pytest.raises(ValueError, match="it needs a width of at least 32"):
        narrow.detokenize(narrow(narrow.collate([narrow.read((scan(2, 4, 4), (1, 1, 1)))])))


def test_a_record_goes_through_json():
    record = CT(8).read(nifti(scan(9, 8, 7))).record
    assert VolumeRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_part_comes_back_from_json_and_makes_the_same_tokens():
    part = Part(CT, stem=BOX, size=(4, 8, 8), window=(-100.0, 300.0), spacing=(2.0, 1.0, 1.0))
    again = Part.from_json(json.loads(json.dumps(part.to_json())))
    assert again == part
    first, second = part(8), again(8)
    second.load_state_dict(first.state_dict())
    batch = first.collate([first.read((scan(5, 9, 9), (3, 1, 1)))])
    assert torch.equal(first(batch).x, second(batch).x)


def test_values_without_a_modality_are_hounsfield_units_where_they_hold_air():
    low, high = (CT(8).read(nifti(values)) for values in (scan(4, 8, 8), abs(scan(4, 8, 8))))
    assert (low.record.kind, high.record.kind) == ("hounsfield", "relative")
    assert CT(8, window="hounsfield").read(nifti(abs(scan(4, 8, 8)))).record.kind == "hounsfield"
    assert CT(8, window="relative").read(nifti(scan(4, 8, 8))).record.kind == "relative"
    asked = CT(8, window=(-160.0, 240.0)).read(nifti(scan(4, 8, 8)))
    assert (asked.record.intensity.dark, asked.record.intensity.bright) == (-160, 240)


def test_a_constant_scan_is_finite():
    sample = CT(8).read((np.full((4, 5, 6), 7, np.uint8), (1, 1, 1)))
    assert sample.data.eq(-1).all()
    np.testing.assert_allclose(restored(sample), 7)


def test_the_default_reads_any_size_in_at_most_512_tokens():
    ct = CT(8)
    for shape in [(1, 1, 1), (1, 300, 200), (200, 30, 300), (70, 140, 130)]:
        sample = ct.read((scan(*shape), (1, 1, 1)))
        assert 0 < sample.cost <= 512
        assert sample.record.restore(torch.zeros(sample.record.grid)).shape == shape


def test_more_voxels_than_allowed_are_refused_before_they_are_made():
    with pytest.raises(InputError, match=r"has 9 x 9 x 9 voxels; 1 to 700 are allowed"):
        CT(8, voxel_limit=700).read(nifti(scan(9, 9, 9)))
    with pytest.raises(InputError, match="needs 2000 x 16 x 16 voxels at a spacing of"):
        CT(8, voxel_limit=10_000, size=None, fit="native", spacing=(0.005, 1, 1)).read((scan(10, 9, 9), (1, 1, 1)))


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"fit": "squash"}, "fit must be one of inside, crop, native, not 'squash'"),
        ({"size": None}, "size must be given with fit='inside'"),
        ({"fit": "native"}, "size must be None with fit='native'"),
        ({"size": (4, 128, 128)}, r"at least the stem's stride \(8, 16, 16\)"),
        ({"spacing": (1, 0, 1)}, "spacing must be three positive numbers"),
        ({"window": "bone"}, "window must be one of auto, hounsfield, relative or two different values"),
        ({"window": (3, 3)}, "two different values"),
        ({"voxel_limit": 0}, "voxel_limit must be positive"),
        ({"stem": Part(TubeletStem)}, "stem must take 1 channel, not 3"),
        ({"stem": Part(PatchStem, channels=1)}, "stem must take volumes"),
    ],
)
def test_a_wrong_setting_is_named(options, cause):
    with pytest.raises(ValueError, match=cause):
        CT(8, **options)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        CT(8).collate([])
