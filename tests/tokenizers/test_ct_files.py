"""NIfTI and NRRD files through the tokenizer ``ct``, bad files and bad sources, and real scans."""

import gzip
import io

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.tokenizers.ct import CT

nibabel = pytest.importorskip("nibabel")


def scan(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(-1000, 1500, shape).astype(np.int16)


def nifti(values: np.ndarray, affine: np.ndarray | None = None, kind: type = nibabel.Nifti1Image) -> bytes:
    return kind(values, np.eye(4) if affine is None else affine).to_bytes()


def restored(sample) -> np.ndarray:
    return sample.record.restore(sample.record.units(sample.data))[0].numpy()


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, np.int32, ">i2"])
def test_nifti_of_each_kind_is_read_plain_and_gzipped(kind, dtype, tmp_path):
    values = (scan(6, 5, 4) % 200).astype(dtype)
    header = kind.header_class(endianness=">" if dtype == ">i2" else "<")
    header.set_data_dtype(np.dtype(dtype))
    content = kind(values, np.diag([2, 3, 4, 1]), header).to_bytes()
    (tmp_path / "scan.nii").write_bytes(content)
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(content))
    for source in (tmp_path / "scan.nii", tmp_path / "scan.nii.gz", str(tmp_path / "scan.nii"), io.BytesIO(content)):
        sample = CT(8).read(source)
        np.testing.assert_allclose(restored(sample), values, atol=1e-3)
        assert sample.record.spacing == (2, 3, 4)
        assert CT.claims(tmp_path / "scan.nii") == 0.9


def test_nifti_is_scaled_by_its_slope_and_its_unit_is_mm():
    image = nibabel.Nifti1Image(np.array([[[0.0, 1000.0], [250.0, -500.0]]]), np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_data_dtype(np.int16)
    image.header.set_xyzt_units("meter")
    sample = CT(8).read(image.to_bytes())
    np.testing.assert_allclose(restored(sample), image.get_fdata(), atol=0.05)
    assert sample.record.spacing == pytest.approx((1, 2, 3))


def test_nifti_without_an_orientation_says_so():
    image = nibabel.Nifti1Image(scan(4, 5, 6), None)
    image.header.set_zooms((1, 2, 3))
    record = CT(8).read(image.to_bytes()).record
    assert record.spacing == (1, 2, 3)
    assert "no orientation" in record.notes[0]


def test_of_several_volumes_the_first_is_taken_or_the_one_asked_for():
    values = np.stack([scan(4, 5, 6), scan(4, 5, 6) // 2], -1)
    first = CT(8).read(nifti(values))
    np.testing.assert_allclose(restored(first), values[..., 0], atol=1e-3)
    assert first.record.notes[0].startswith("the first of 2 volumes")
    sample = CT(8, frame=1).read(nifti(values))
    np.testing.assert_allclose(restored(sample), values[..., 1], atol=1e-3)
    assert sample.record.notes[0] == "volume 1 of 2"
    with pytest.raises(InputError, match="no frame 5; 0 to 1 exist"):
        CT(8, frame=5).read(nifti(values))
    assert CT(8).read(nifti(values[..., :1])).record.shape == (4, 5, 6)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii", "bzip2"])
@pytest.mark.parametrize("detached", [False, True])
def test_nrrd_lies_in_space_as_its_header_says(encoding, detached, tmp_path):
    nrrd = pytest.importorskip("nrrd")
    values, path = scan(5, 6, 7), tmp_path / ("scan.nhdr" if detached else "scan.nrrd")
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([1.0, 2.0, 3.0]),
        "space origin": np.array([10.0, 20.0, 30.0]),
        "encoding": encoding,
    }
    nrrd.write(str(path), values, header, detached_header=detached)
    sample = CT(8).read(path)
    np.testing.assert_allclose(restored(sample), values, atol=1e-3)
    np.testing.assert_allclose(np.array(sample.record.affine) @ [1, 1, 1, 1], [-11, -22, 33, 1])
    assert CT.claims(path) == 0.9


def test_nrrd_with_spacings_or_a_list_of_volumes_is_read():
    nrrd = pytest.importorskip("nrrd")
    file = io.BytesIO()
    nrrd.write(file, scan(5, 6, 7), {"spacings": [1.0, 2.0, 3.0]})
    assert CT(8).read(file.getvalue()).record.spacing == (1, 2, 3)
    file, values = io.BytesIO(), np.stack([scan(5, 6, 7), scan(5, 6, 7) // 3])
    directions = np.concatenate([np.full((1, 3), np.nan), np.eye(3)])
    nrrd.write(file, values, {"space": "RAS", "space directions": directions, "kinds": ["list", *["domain"] * 3]})
    np.testing.assert_allclose(restored(CT(8, frame=1).read(file.getvalue())), values[1], atol=1e-3)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "content, cause",
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, world", r"is no volume \(it begins with b'hello, w'\); DICOM, NIfTI and NRRD files are read"),
        (truncated(nifti(scan(9, 9, 9))), r"is truncated: \d+ of 1458 bytes of voxels"),
        (truncated(gzip.compress(nifti(scan(9, 9, 9)))), "damaged or truncated gzip data"),
        (nifti(scan(9, 9, 9))[:400], "is truncated: "),
        (nifti(scan(9, 9, 9))[:300], "is no NIfTI file|damaged or truncated NIfTI header"),
        (nifti(np.full((3, 3, 3), np.nan, np.float32)), "27 voxels and none with a value"),
        (nifti(np.zeros((3, 3, 3), np.complex64)), "has complex voxels"),
        (nifti(np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "has colour voxels"),
        (nifti(scan(3, 3, 3))[:296] + bytes(16) + nifti(scan(3, 3, 3))[312:], "has voxels without extent"),
        (nifti(scan(2, 2, 2, 2, 2)), "has 5 axes, not the 3 of a volume"),
        (b"NRRD0004\ntype: short\n", "damaged or truncated NRRD header"),
        (b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nendian: little\n\nab", "NRRD data"),
        (b"PK\x03\x04 not an archive", "damaged or unreadable zip archive"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(content, cause, tmp_path, capfd):
    (tmp_path / "bad.nii").write_bytes(content)
    with pytest.raises(InputError, match=f"bad.nii: .*({cause})"):
        CT(8).read(tmp_path / "bad.nii")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "source, cause",
    [
        ("gone.nii", "gone.nii: does not exist"),
        (np.zeros((4, 4)), r"array \(4, 4\): has 2 axes, not the 3 of a volume; give \(1, rows, columns\)"),
        (np.zeros((4, 0, 4)), r"has no voxels \(4 x 0 x 4\)"),
        (np.zeros((2, 2, 2), complex), "not plain numbers"),
        (np.full((2, 2, 2), np.inf), "8 infinite voxels; replace them"),
        ((np.zeros((2, 2, 2)), (1, 2)), r"has a place of shape \(2,\); give the spacing"),
        ((np.zeros((2, 2, 2)), (1, -2, 3)), "give the spacing"),
        ((np.zeros((2, 2, 2)), np.full((4, 4), np.nan)), "an affine that is not 4 x 4 finite numbers"),
        ([], "no files: were given"),
        (3.5, "cannot be read as a volume"),
    ],
)
def test_a_bad_source_is_an_error(source, cause):
    with pytest.raises(InputError, match=cause):
        CT(8).read(source)


@pytest.mark.parametrize("name, kind", [("thorax_ct", "hounsfield"), ("totalseg_mr_small", "relative")])
def test_real_scans_are_read_as_nibabel_reads_them(shared_data, name, kind):
    path = shared_data / "ct_mr_volumes" / f"{name}.nii.gz"
    image = nibabel.load(path)
    sample = CT(8, size=None, fit="native").read(path)
    assert sample.record.kind == kind
    values = np.asanyarray(image.dataobj)
    lowest = -1024 if kind == "hounsfield" else values.min()
    np.testing.assert_allclose(restored(sample), np.maximum(values, lowest), atol=0.01)
    np.testing.assert_allclose(np.array(sample.record.affine), image.affine, atol=1e-6)
    assert CT(8).read(path).cost <= 512


def test_real_labels_go_through_the_working_grid_and_back(shared_data):
    """The aorta and the heart keep nearly all of their voxels through a grid that is coarser."""
    folder = shared_data / "ct_mr_volumes"
    record = CT(8).read(folder / "thorax_ct.nii.gz").record
    truth = torch.from_numpy(np.asanyarray(nibabel.load(folder / "thorax_ct_labels.nii.gz").dataobj)).long()
    sample = CT(8, window=(0.0, 2.0)).read((truth.numpy(), np.array(record.affine)))
    for label in truth.unique().tolist():
        seen = CT(8, window=(0.0, 2.0)).read(((truth == label).float().numpy(), np.array(record.affine)))
        back = record.restore(seen.record.units(seen.data)[0]) > 0.5
        both = (back & (truth == label)).sum()
        assert 2 * both / (back.sum() + (truth == label).sum()) > 0.85, label
    assert sample.record.size == record.size


def test_voxels_without_a_value_are_padding_and_infinite_ones_are_refused():
    values = np.linspace(0, 100, 4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    gap = values.copy()
    gap[0, 0, :3] = np.nan
    sample = CT(8).read(nifti(gap))
    assert any("3 padding voxels were read" in note for note in sample.record.notes)
    assert bool(sample.data.isfinite().all())
    gap[1, 1, 1] = np.inf
    with pytest.raises(InputError, match="has 1 infinite voxels; replace them"):
        CT(8).read(nifti(gap))
