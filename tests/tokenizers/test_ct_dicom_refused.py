"""DICOM that the tokenizer ``ct`` refuses with its file's name: gaps, mixtures, damage, and what it claims."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.tokenizers.ct import CT

pytest.importorskip("pydicom")

TILTED = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]  # rows along (.8, .6, 0), columns downwards
AXIAL = [1.0, 0, 0, 0, 1.0, 0]


def scan(slices: int = 5, rows: int = 12, columns: int = 10) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 2500, (slices, rows, columns)).astype(np.int16)


def native(**settings: Any) -> CT:
    return CT(8, size=None, fit="native", **settings)


@pytest.mark.parametrize(
    "places, cause",
    [
        ([0, 2.5, 5, 10, 12.5], r"1 slice is missing between IM\d+ and IM\d+ \(a gap of 5 mm, 2.5 mm elsewhere\)"),
        ([0, 2, 4, 7, 10], "slices are 2 to 3 mm apart"),
        ([0, 2.5, 5, 7.5, 7.5], r"2 images lie at one place \(as .*IM\d+\) and 1 at the others"),
    ],
)
def test_missing_and_unevenly_spaced_slices_are_named(series, places, cause):
    with pytest.raises(InputError, match=f"scan: .*{cause}"):
        native().read(series(scan(), places=places))


def test_spacing_that_scanners_round_is_even(series):
    places = [round(0.625 * s, 1) for s in range(5)]
    assert native().read(series(scan(), places=places)).record.spacing[0] == pytest.approx(0.625)


def test_slices_of_another_size_or_orientation_are_named(series, dicom, tmp_path):
    folder = series(scan())
    dicom(folder / "zz", scan(1, 8, 10)[0], ImagePositionPatient=[0, 0, 9], ImageOrientationPatient=AXIAL)
    with pytest.raises(InputError, match=r"zz: has 8 x 10 pixels and .*IM000 has 12 x 10; give one series"):
        native().read(folder)
    dicom(folder / "zz", scan(1)[0], ImagePositionPatient=[0, 0, 9], ImageOrientationPatient=TILTED)
    with pytest.raises(InputError, match=r"zz: has another orientation than .*IM000"):
        native().read(folder)


def test_several_series_are_listed(series):
    folder = series(scan())
    series(scan(3), folder="scan/other", SeriesInstanceUID="5.6", SeriesNumber=8, Modality="MR")
    listed = r"holds 2 series \(number 7: 5 CT images as IM000; number 8: 3 MR images as IM000\)"
    with pytest.raises(InputError, match=f"scan: {listed}; give a folder, or a list of files, of one series"):
        native().read(folder)


def test_folders_without_images_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: is an empty folder"):
        native().read(tmp_path / "empty")
    (tmp_path / "empty" / "text").write_text("text")
    (tmp_path / "empty" / "more").write_text("text")
    with pytest.raises(InputError, match=r"empty: holds no DICOM images \(2 other files\)"):
        native().read(tmp_path / "empty")


def test_a_slice_that_is_truncated_is_named(series, capfd):
    folder = series(scan())
    (folder / "IM003").write_bytes((folder / "IM003").read_bytes()[:-50])
    with pytest.raises(InputError, match=r"IM003: its pixel data \(uncompressed\) cannot be decoded"):
        native().read(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "attributes, cause",
    [
        ({"PixelData": None, "Modality": "SR"}, r"has no pixel data \(its modality is SR\)"),
        ({"Rows": None}, "has no pixel data"),
        ({"Rows": 0}, "has 1 x 0 x 10 pixels"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 voxels"),
        ({"BitsAllocated": 13}, r"its pixel data \(uncompressed\) cannot be decoded"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "the rescale slope is 0"),
        ({"PixelData": bytes(12), "Rows": 600}, "cannot be decoded"),
    ],
)
def test_a_damaged_object_is_an_error_that_names_it(dicom, tmp_path, attributes, cause, capfd):
    dicom(tmp_path / "one.dcm", scan(1)[0], **attributes)
    with pytest.raises(InputError, match=f"one.dcm: .*{cause}"):
        native().read(tmp_path / "one.dcm")
    assert capfd.readouterr() == ("", "")


def test_a_syntax_without_a_decoder_and_a_colour_picture_are_refused(dicom, tmp_path):
    from pydicom.encaps import encapsulate
    from pydicom.uid import HTJ2KLossless, JPEG2000Lossless

    for syntax, cause in ((HTJ2KLossless, "High-Throughput"), (JPEG2000Lossless, "JPEG 2000")):
        dicom(tmp_path / "one", scan(1)[0], syntax=syntax, PixelData=encapsulate([bytes(range(200))]))
        with pytest.raises(InputError, match=rf"one: its pixel data \(compressed as {cause}.*; export it uncompressed"):
            native().read(tmp_path / "one")
    dicom(tmp_path / "rgb", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(InputError, match="rgb: is a colour picture, not a scan"):
        native().read(tmp_path / "rgb")


def test_random_damage_raises_nothing_but_input_errors(dicom, tmp_path, capfd):
    content, draw = dicom(tmp_path / "one", scan(1)[0]).read_bytes(), np.random.default_rng(0)
    read, said = 0, ""
    for _ in range(150):
        damaged = bytearray(content[: draw.integers(1, len(content))] if draw.random() < 0.3 else content)
        for at in draw.integers(0, min(len(damaged), 900), 6):
            damaged[at] = draw.integers(0, 256)
        try:
            native().read(bytes(damaged))
            read += 1
        except InputError as error:
            said += str(error)
    assert read < 150
    assert "Doe" not in said
    assert capfd.readouterr() == ("", "")


def test_the_files_that_pydicom_brings_are_read_or_refused_by_name(capfd):
    import pydicom.data

    folder = Path(pydicom.data.__file__).parent / "test_files"
    read, refused = {}, {}
    for path in sorted(folder.glob("*.dcm")):
        try:
            read[path.name] = CT(8).read(path)
        except InputError as error:
            refused[path.name] = str(error)
    assert all(name in said for name, said in refused.items())
    assert capfd.readouterr() == ("", "")
    wanted = {"CT_small.dcm", "MR_small_padded.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm", "rtdose_rle.dcm"}
    assert wanted <= set(read)
    assert read["CT_small.dcm"].record.intensity.unit == "HU"
    assert read["rtdose_rle.dcm"].record.spacing == (5, 10, 10)


@pytest.mark.parametrize("modality, sure", [("CT", True), ("MR", True), ("DX", False), ("CR", False)])
def test_a_scanners_files_and_folders_are_claimed_and_radiographs_are_not(series, modality, sure):
    folder = series(scan(), Modality=modality)
    for path in (folder, folder / "IM000", folder.parent):
        assert (CT.claims(path) > 0.9) is sure
        assert (CT.claims(path) < 0.1) is not sure
