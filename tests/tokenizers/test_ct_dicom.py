"""DICOM scans through the tokenizer ``ct``: real units, places and orders, and what is refused with its file's name."""

import io
import json
import shutil
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.tokenizers.ct import CT

pytest.importorskip("pydicom")

TILTED = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]  # rows along (.8, .6, 0), columns downwards
AXIAL = [1.0, 0, 0, 0, 1.0, 0]


def scan(slices: int = 5, rows: int = 12, columns: int = 10) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 2500, (slices, rows, columns)).astype(np.int16)


def native(**settings: Any) -> CT:
    return CT(8, size=None, fit="native", **settings)


def restored(sample: Any) -> np.ndarray:
    """The scan's values on its own grid, in its own units."""
    return sample.record.restore(sample.record.units(sample.data))[0].numpy()


@pytest.mark.parametrize("along", [AXIAL, [-1.0, 0, 0, 0, -1.0, 0], TILTED, [0, 1.0, 0, 0, 0, -1.0]])
def test_a_series_is_sorted_by_place_and_each_voxel_lies_where_its_header_says(series, along):
    stored = scan()
    sample = native().read(series(stored, along=along))
    np.testing.assert_allclose(restored(sample), stored - 1024.0, atol=1e-3)
    normal = np.cross(along[:3], along[3:])
    for s, y, x in [(0, 0, 0), (4, 11, 9), (2, 3, 7)]:
        lps = np.array([-30.0, 20.0, 100.0]) + s * 2.5 * normal + x * 0.75 * np.array(along[:3])
        lps = lps + y * 0.5 * np.array(along[3:])
        own = np.array(sample.record.affine) @ [s, y, x, 1]
        np.testing.assert_allclose(own[:3], lps * [-1, -1, 1], atol=1e-6)


@pytest.mark.parametrize("along", [AXIAL, TILTED, [0, 1.0, 0, 0, 0, -1.0]])
def test_the_models_axes_rise_superior_anterior_and_right(series, along):
    record = native().read(series(scan(), along=along)).record
    directions = np.array(record.model_affine)[:3, :3]
    assert [int(np.abs(directions[:, z]).argmax()) for z in range(3)] == [2, 1, 0]
    assert all(directions[2 - z, z] > 0 for z in range(3))


def test_slope_and_intercept_are_each_slices_own(series):
    stored = scan()
    folder = series(stored, RescaleSlope=[1, 2, 0.5, 1, 3], RescaleIntercept=[0, -10, 5, -1000, 1], Modality="PT")
    expected = stored * np.array([1, 2, 0.5, 1, 3])[:, None, None] + np.array([0, -10, 5, -1000, 1])[:, None, None]
    np.testing.assert_allclose(restored(native().read(folder)), expected, rtol=1e-5, atol=1e-2)


def test_unused_bits_are_dropped_and_signs_extended(dicom, tmp_path):
    values = np.array([[-2048, -1, 0, 2047]], np.int16)
    stored = (values & 0x0FFF) | np.int16(0x3000)
    dicom(tmp_path / "one", stored, BitsStored=12, HighBit=11, Modality="MR")
    np.testing.assert_allclose(restored(native().read(tmp_path / "one"))[0], values, atol=1e-2)


def test_padding_and_what_lies_below_air_become_air_and_are_counted(series):
    stored = scan()
    stored[0, 0, :3], stored[1, 1, 1] = -2000, -300
    sample = native().read(series(stored, PixelPaddingValue=-2000))
    back = restored(sample)
    assert (back[0, 0, :3] == -1024).all()
    assert back[1, 1, 1] == -1024
    assert "3 padding voxels were read as -1024" in sample.record.notes
    assert "1 voxels below -1024 HU were read as air" in sample.record.notes


def test_hounsfield_units_are_scaled_by_the_air_and_others_by_their_percentiles(series):
    ct = native().read(series(scan()))
    assert (ct.record.kind, ct.record.intensity.dark, ct.record.intensity.bright) == ("hounsfield", -1024, 1024)
    mr = native().read(series(scan(), Modality="MR", RescaleIntercept=0, folder="mr"))
    low, high = np.percentile(scan(), [0.5, 99.5])
    assert (mr.record.kind, mr.record.intensity.dark, mr.record.intensity.bright) == ("relative", low, high)
    inverted = native().read(
        series(scan(), Modality="MR", RescaleIntercept=0, PhotometricInterpretation="MONOCHROME1", folder="inverse")
    )
    torch.testing.assert_close(inverted.data, -mr.data)


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian", "MR_small_expb"],
)
def test_each_transfer_syntax_gives_the_same_voxels(name):
    from pydicom.data import get_testdata_file

    plain, packed = (native().read(get_testdata_file(f"{n}.dcm", download=False)) for n in ("MR_small", name))
    assert torch.equal(plain.data, packed.data)
    assert packed.data.shape == (1, 8, 64, 64)
    assert packed.record.modality == "MR"


def test_what_a_compressor_of_gdcm_wrote_is_read(series):
    pytest.importorskip("gdcm")
    import pydicom
    from pydicom.uid import RLELossless

    folder = series(scan())
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    np.testing.assert_allclose(restored(native().read(folder)), scan() - 1024.0, atol=1e-3)


def test_an_enhanced_multi_frame_object_is_a_volume(dicom, tmp_path):
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    stored = scan(4)
    groups, order = [], [2, 0, 3, 1]
    for s in order:
        position, plane, values, group = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, values.RescaleSlope, values.RescaleIntercept = [0, 0, 3.0 * s], 2, s
        group.PlanePositionSequence, group.PixelValueTransformationSequence = Sequence([position]), Sequence([values])
        plane.ImageOrientationPatient = AXIAL
        group.PlaneOrientationSequence = Sequence([plane])
        groups.append(group)
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2, 1], 9
    shared.PixelMeasuresSequence = Sequence([measures])
    path = dicom(
        tmp_path / "enhanced.dcm",
        stored[order],
        Modality="MR",
        NumberOfFrames=4,
        PerFrameFunctionalGroupsSequence=Sequence(groups),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )
    sample = native().read(path)
    np.testing.assert_allclose(restored(sample), stored * 2.0 + np.arange(4)[:, None, None], atol=1e-2)
    assert sample.record.spacing == (3, 2, 1)


def test_folders_hold_other_files_duplicates_and_localizers(series, dicom, tmp_path):
    folder = series(scan())
    (folder / "README.txt").write_text("read me")
    (folder / "sub").mkdir()
    first = next(path for path in folder.iterdir() if path.name.startswith("IM"))
    shutil.copy(first, folder / "sub" / "again.dcm")
    dicom(folder / "scout", scan(1, 40, 40)[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    dicom(folder / "dose", scan(1, 40, 40)[0], SeriesInstanceUID="9.9", SeriesNumber=99)
    sample = native().read(folder)
    assert sample.record.shape == (5, 12, 10)
    assert sample.record.notes[:2] == (
        "1 localizer images were left out",
        "1 single images of other series were left out",
    )


def test_a_zip_archive_and_a_list_of_files_are_read_as_their_folder_is(series):
    folder, archive = series(scan()), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, f"a/b/{path.name}")
    whole = native().read(folder)
    for other in (archive.getvalue(), sorted(folder.iterdir()), [path.read_bytes() for path in folder.iterdir()]):
        assert torch.equal(native().read(other).data, whole.data)


def test_a_tilted_gantry_is_stated_in_the_affine(series):
    positions = [[0.0, 0.7 * s, 2.0 * s] for s in range(5)]
    record = native().read(series(scan(), ImagePositionPatient=positions)).record
    np.testing.assert_allclose((np.array(record.affine) @ [4, 0, 0, 1])[:3], [0, -2.8, 8.0], atol=1e-6)
    assert "the slices are tilted by 19.3 degrees against their stack" in record.notes


def test_without_positions_slices_are_in_the_order_of_their_numbers(series):
    folder = series(scan(), ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    sample = native().read(folder)
    np.testing.assert_allclose(restored(sample), scan() - 1024.0, atol=1e-3)
    assert any("order of their numbers" in note for note in sample.record.notes)
    assert any("1 mm is assumed" in note for note in sample.record.notes)


def test_of_several_images_at_each_place_the_first_are_taken_or_those_asked_for(series):
    stored = np.concatenate([scan(), scan()[::-1]])
    folder = series(stored, places=[2.5 * (s % 5) for s in range(10)])
    assert "the first of 2 at each place" in native().read(folder).record.notes
    sample = native(frame=1).read(folder)
    np.testing.assert_allclose(restored(sample), scan()[::-1] - 1024.0, atol=1e-3)
    assert "frame 1 of 2 at each place" in sample.record.notes
    with pytest.raises(InputError, match="no frame 2; 0 to 1 exist"):
        native(frame=2).read(folder)


def test_who_the_patient_is_reaches_no_record_message_or_name(series, capfd):
    folder = series(scan())
    sample = native().read(folder)
    said = repr(sample.record) + json.dumps(sample.record.to_json()) + sample.source
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError) as error:
        native().read(folder)
    said += str(error.value) + "".join(capfd.readouterr())
    assert not any(word in said for word in ("Doe", "Jane", "4711", "1923"))
