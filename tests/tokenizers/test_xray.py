"""The tokenizer ``xray``: DICOM radiographs and pictures, windows, depth, the way back, and what is refused."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.reading.intensity_record import IntensityRecord
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.ct import CT
from unimodal.tokenizers.xray import XRay

PATCH = Part(PatchStem, patch=4, channels=1)


def film(rows: int = 12, columns: int = 16, dtype: type = np.uint16) -> np.ndarray:
    values = np.random.default_rng(4).integers(0, np.iinfo(dtype).max, (rows, columns))
    return values.astype(dtype)


def file_of(array: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(array).save(file, form, **options)
    return file.getvalue()


def native(**settings) -> XRay:
    return XRay(24, stem=PATCH, size=None, fit="native", **settings)


def restored(sample) -> np.ndarray:
    return sample.record.restore(sample.record.units(sample.data))[0].numpy()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_kept_to_the_last_one(form):
    sample = native().read(file_of(film(), form))
    np.testing.assert_allclose(restored(sample), film(), atol=0.02)
    assert sample.record.image.mode.startswith("I")


def test_eight_bit_copies_of_grey_are_one_channel_and_colour_is_read_by_its_luminance():
    grey = film(dtype=np.uint8)
    copies = np.stack([grey] * 3, -1)
    for source in (grey, copies, file_of(grey, "PNG"), file_of(copies, "PNG"), Pillow.fromarray(copies)):
        sample = native().read(source)
        np.testing.assert_allclose(restored(sample), grey, atol=1e-3)
        assert sample.record.notes == ()
    colour = np.stack([grey, 255 - grey, grey // 2], -1)
    sample = native().read(file_of(colour, "PNG"))
    np.testing.assert_allclose(restored(sample), colour @ [0.299, 0.587, 0.114], atol=1e-2)
    assert sample.record.notes == ("its colours were read by their luminance",)


def test_scaling_is_by_percentiles_and_is_undone_by_the_record():
    sample = native().read(film())
    low, high = np.percentile(film().astype(float), [0.5, 99.5])
    expected = 2 * (film() - low) / (high - low) - 1
    np.testing.assert_allclose(sample.data[0], expected, atol=1e-5)
    asked = native(window=(100.0, 300.0)).read(film())
    np.testing.assert_allclose(asked.data[0], (film() - 200.0) / 100, rtol=1e-5)


@pytest.mark.parametrize("inverted", [False, True])
def test_a_dicom_window_is_obeyed_and_monochrome1_is_turned_round(dicom, tmp_path, inverted):
    dicom(
        tmp_path / "chest.dcm",
        film(),
        Modality="DX",
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
        RescaleSlope=2,
        RescaleIntercept=-50,
        WindowCenter=[4000, 1],
        WindowWidth=[1001, 1],
        ImagerPixelSpacing=[0.2, 0.1],
    )
    sample = native().read(tmp_path / "chest.dcm")
    values = film() * 2.0 - 50
    expected = 2 * (values - 3499.5) / 1000 - 1  # PS3.3 C.11.2.1.2.1: from c - 0.5 - (w - 1) / 2, over w - 1
    np.testing.assert_allclose(sample.data[0], -expected if inverted else expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(restored(sample), values, rtol=1e-4, atol=0.02)
    assert sample.record.spacing == (0.2, 0.1)
    assert sample.record.modality == "DX"
    assert sample.record.intensity.told_by == "the window in the header"
    robust = native(window="robust").read(tmp_path / "chest.dcm").record.intensity
    assert robust.told_by == "percentiles 0.5 and 99.5"
    assert (robust.dark > robust.bright) is inverted


def test_a_window_that_shows_nothing_is_not_used(dicom, tmp_path):
    path = dicom(tmp_path / "one", film(), Modality="CR", WindowCenter=-9000, WindowWidth=10)
    record = native().read(path).record
    assert record.intensity.told_by.startswith("percentiles")
    assert "not used" in record.notes[0]


def test_padding_does_not_count_and_is_dark(dicom, tmp_path):
    stored = film()
    stored[:, :4] = 65_535
    path = dicom(tmp_path / "one", stored, Modality="MG", PixelPaddingValue=65_535)
    sample = native().read(path)
    assert sample.record.intensity.bright <= stored[:, 4:].max()
    np.testing.assert_allclose(restored(sample)[:, :4], stored[:, 4:].min(), atol=0.02)
    assert sample.record.notes == ("48 pixels are padding",)


def test_of_several_frames_the_first_is_taken_or_the_one_asked_for(dicom, tmp_path):
    path = dicom(tmp_path / "run", np.stack([film(), film() // 2]), Modality="XA", NumberOfFrames=2)
    first = native().read(path)
    np.testing.assert_allclose(restored(first), film(), atol=0.02)
    assert first.record.notes == ("the first of 2 frames",)
    np.testing.assert_allclose(restored(native(frame=1).read(path)), film() // 2, atol=0.02)
    with pytest.raises(InputError, match="no frame 7; 0 to 1 exist"):
        native(frame=7).read(path)


def test_radiographs_are_claimed_and_scans_and_photos_are_left_to_others(dicom, tmp_path):
    for modality, mine in (("CR", True), ("DX", True), ("MG", True), ("XA", True), ("CT", False), ("MR", False)):
        path = dicom(tmp_path / modality, film(), Modality=modality)
        assert (XRay.claims(path) > 0.9 > 0.1 > CT.claims(path)) is mine
        assert (CT.claims(path) > 0.9 > 0.1 > XRay.claims(path)) is not mine
    (tmp_path / "photo.png").write_bytes(file_of(film(dtype=np.uint8), "PNG"))
    (tmp_path / "deep.png").write_bytes(file_of(film(), "PNG"))
    (tmp_path / "text.txt").write_text("text")
    assert 0 < XRay.claims(tmp_path / "photo.png") < XRay.claims(tmp_path / "deep.png") < 0.5
    assert XRay.claims(tmp_path / "text.txt") == XRay.claims(tmp_path) == 0


@pytest.mark.parametrize("fit, size", [("inside", 8), ("crop", 8), ("resize", (8, 12)), ("native", None)])
def test_each_fit_has_its_size_and_a_map_comes_back_to_the_films_pixels(fit, size):
    xray = XRay(24, stem=PATCH, size=size, fit=fit)
    sample = xray.read(film(13, 30))
    tokens = xray(xray.collate([sample]))
    assert sample.cost == tokens.x.shape[1] == sample.record.grid[0] * sample.record.grid[1]
    assert sample.record.restore(torch.zeros(sample.record.grid)).shape == (13, 30)
    points = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(sample.record.to_original(sample.record.to_model(points)), points)


def test_detokenize_gives_the_values_back_in_each_layout():
    xray = native()
    films = [film(), film(8, 8), film(4, 16)]
    batch = xray.collate([xray.read(f) for f in films])
    for tokens in (xray(batch), xray(batch).padded()):
        for given, found, record in zip(films, xray.detokenize(tokens).data, batch.records, strict=True):
            np.testing.assert_allclose(record.restore(record.units(found))[0], given, atol=2)
    narrow = XRay(15, stem=PATCH, size=8)
    tokens = narrow(narrow.collate([narrow.read(film())]))
    with pytest.raises(ValueError, match="it needs a width of at least 16"):
        narrow.detokenize(tokens)


def test_the_record_and_the_part_go_through_json():
    record = native().read(film()).record
    assert IntensityRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    part = Part(XRay, stem=PATCH, size=(8, 12), fit="resize", window=(0.0, 9.0))
    assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part


PNG = file_of(film(), "PNG")


@pytest.mark.parametrize(
    "content, cause",
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, world", "is not an image file"),
        (PNG[: len(PNG) // 2], "damaged or truncated PNG"),
        (PNG[:20], "damaged or truncated PNG|is not an image file"),
        (bytes(128) + b"DICM", "DICOM file without content|damaged or truncated DICOM|has no pixel data"),
        (b"\x08\x00" + bytes(range(60)), "DICOM|no pixel data"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(content, cause, tmp_path, capfd):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=f"bad.png: .*({cause})"):
        XRay(8).read(tmp_path / "bad.png")
    assert capfd.readouterr() == ("", "")


def test_bad_dicom_and_bad_sources_are_errors(dicom, tmp_path):
    path = dicom(tmp_path / "one.dcm", film(), Modality="DX")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"one.dcm: its pixel data \(uncompressed\) cannot be decoded"):
        XRay(8).read(path)
    with pytest.raises(InputError, match=r"sr.dcm: has no pixel data \(its modality is SR\)"):
        XRay(8).read(dicom(tmp_path / "sr.dcm", film(), Modality="SR", Rows=None))
    with pytest.raises(InputError, match="gone.png: does not exist"):
        XRay(8).read(tmp_path / "gone.png")
    with pytest.raises(InputError, match="is a directory"):
        XRay(8).read(tmp_path)
    with pytest.raises(InputError, match=r"array \(2, 3, 5\): is not \(rows, columns\)"):
        XRay(8).read(np.zeros((2, 3, 5)))
    with pytest.raises(InputError, match="has 192 pixels, over the limit of 191"):
        XRay(8, pixel_limit=191).read(film())
    with pytest.raises(InputError, match="1 to 191 are allowed"):
        XRay(8, pixel_limit=191).read(dicom(tmp_path / "large", film(), Modality="DX"))
    with pytest.raises(InputError, match="cannot be read as a radiograph"):
        XRay(8).read(3)


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"fit": "squash"}, "fit must be one of crop, resize, inside, native"),
        ({"size": None}, "size must be given with fit='inside'"),
        ({"size": 8}, "at least the stem's stride of 16 px"),
        ({"window": "bone"}, "window must be one of auto, robust or two different values"),
        ({"pixel_limit": 0}, "pixel_limit must be positive"),
        ({"stem": Part(PatchStem)}, "stem must take 1 channel, not 3"),
    ],
)
def test_a_wrong_setting_is_named(options, cause):
    with pytest.raises(ValueError, match=cause):
        XRay(8, **options)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        XRay(8).collate([])


def test_real_radiographs_are_read_as_pillow_reads_them(shared_data):
    import pyarrow.parquet as parquet

    table = parquet.read_table(shared_data / "chest_xray_3class" / "chest_xray.parquet", columns=["image"])
    for row in table.slice(0, 400).to_pylist()[::80]:
        sample = native().read(row["image"])
        grey = np.asarray(Pillow.open(io.BytesIO(row["image"])).convert("L"), np.float32)
        centres = restored(sample)
        assert centres.shape == grey.shape
        assert np.abs(centres - grey).mean() < 1.5  # each side was fitted to a whole number of patches
        assert XRay(8).read(row["image"]).cost <= 196
