"""The tokenizer ``infrared``: thermal pictures of each depth, their scale and the way back, and what is refused."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.infrared import Infrared

PATCH = Part(PatchStem, patch=4, channels=1)


def scene(rows: int = 12, columns: int = 16, dtype: type = np.float32) -> np.ndarray:
    values = 290 + 20 * np.random.default_rng(6).random((rows, columns))
    return values.astype(dtype)


def file_of(array: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(array).save(file, form, **options)
    return file.getvalue()


def native(**settings) -> Infrared:
    return Infrared(24, stem=PATCH, size=None, fit="native", **settings)


def restored(sample) -> np.ndarray:
    return sample.record.restore(sample.record.units(sample.data))[0].numpy()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_a_tiff_of_each_depth_keeps_its_values(dtype):
    values = scene(dtype=np.float32).astype(dtype)
    sample = native().read(file_of(values, "TIFF"))
    np.testing.assert_allclose(restored(sample), values, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float16, np.float64, np.int64, bool])
def test_arrays_of_each_kind_are_read_with_one_channel_or_three_equal_ones(dtype):
    values = (scene() % 2 > 1).astype(dtype) if dtype is bool else scene().astype(dtype)
    for source in (values, values[:, :, None], np.repeat(values[:, :, None], 3, 2)):
        np.testing.assert_allclose(restored(native().read(source)), values.astype(np.float32), atol=1e-3)


def test_each_orientation_tag_is_obeyed():
    values = (scene() - 280).astype(np.uint8)
    for tag in range(1, 9):
        exif = Pillow.Exif()
        exif[0x0112] = tag
        content = file_of(values, "PNG", exif=exif)
        shown = Pillow.open(io.BytesIO(content))
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(shown))
        np.testing.assert_allclose(restored(native().read(content)), expected, atol=1e-3)


def test_a_jpeg_of_grey_is_one_channel_and_false_colour_is_noted():
    grey = np.repeat((scene(16, 16)[:, :, None] - 200).astype(np.uint8), 3, 2)
    assert native().read(file_of(grey, "JPEG", quality=95)).record.notes == ()
    colour = grey * np.array([1, 0, 2], np.uint8)
    sample = native().read(file_of(colour, "PNG"))
    assert sample.record.notes == ("its colours were read by their luminance",)
    np.testing.assert_allclose(restored(sample), colour @ [0.299, 0.587, 0.114], atol=1e-2)


def test_of_several_pages_the_first_is_read_and_said():
    pages = [Pillow.fromarray(scene() + i) for i in range(3)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    sample = native().read(file.getvalue())
    np.testing.assert_allclose(restored(sample), scene(), atol=1e-3)
    assert sample.record.notes == ("the first of 3 pictures in the file was read",)


def test_a_hot_target_does_not_move_the_scale_and_is_not_clipped():
    values = scene(40, 40)
    hot = values.copy()
    hot[20, 20] = 900
    cool, warm = (native().read(v) for v in (values, hot))
    assert warm.record.intensity.bright == pytest.approx(cool.record.intensity.bright, abs=0.2)
    assert float(warm.data.max()) > 50
    np.testing.assert_allclose(restored(warm), hot, rtol=1e-5)


def test_a_fixed_scale_and_other_percentiles_are_obeyed():
    sample = native(window=(273.15, 373.15)).read(scene())
    np.testing.assert_allclose(sample.data[0], (scene() - 323.15) / 50, atol=1e-5)
    wide = native(percent=0.0).read(scene()).record.intensity
    assert (wide.dark, wide.bright) == (scene().min(), scene().max())


def test_a_constant_picture_is_finite():
    sample = native().read(np.full((8, 8), 300.0))
    assert sample.data.eq(-1).all()
    np.testing.assert_allclose(restored(sample), 300)


def test_values_are_averaged_and_not_rounded_when_the_picture_shrinks():
    sample = Infrared(8, stem=PATCH, size=4, fit="resize", window=(0.0, 2.0)).read(np.eye(8, dtype=np.float32))
    expected = torch.nn.functional.interpolate(torch.eye(8)[None, None], (4, 4), mode="bilinear", antialias=True)
    torch.testing.assert_close(sample.record.units(sample.data), expected[0])
    assert sample.record.image.scale == (2, 2)


def test_detokenize_gives_the_values_back():
    infrared = native()
    batch = infrared.collate([infrared.read(scene()), infrared.read(scene(8, 4))])
    found = infrared.detokenize(infrared(batch)).data
    for values, picture, record in zip((scene(), scene(8, 4)), found, batch.records, strict=True):
        np.testing.assert_allclose(record.restore(record.units(picture))[0], values, atol=1e-2)


def test_the_part_goes_through_json():
    part = Part(Infrared, stem=PATCH, size=(8, 12), fit="resize", window=(0.0, 9.0), percent=1.0)
    assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part


def test_pictures_are_claimed_less_than_photos_are(tmp_path):
    (tmp_path / "photo.png").write_bytes(file_of(scene().astype(np.uint8), "PNG"))
    (tmp_path / "deep.tiff").write_bytes(file_of(scene(), "TIFF"))
    (tmp_path / "bad.png").write_bytes(b"")
    assert 0 < Infrared.claims(tmp_path / "photo.png") < Infrared.claims(tmp_path / "deep.tiff") < 0.5
    assert Infrared.claims(tmp_path / "bad.png") < 0.5
    assert Infrared.claims(tmp_path / "scan.nii") == 0


TIFF = file_of(scene(64, 64), "TIFF")
HOLES = scene()
HOLES[3, 4] = np.nan


@pytest.mark.parametrize(
    "content, cause",
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, world", "is not an image file"),
        (TIFF[: len(TIFF) // 2], "damaged or truncated TIFF"),
        (TIFF[:30], "damaged or truncated TIFF"),
        (file_of(HOLES, "TIFF"), "has 1 pixels that are not finite"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS files are programs"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(content, cause, tmp_path, capfd):
    (tmp_path / "bad.tif").write_bytes(content)
    with pytest.raises(InputError, match=f"bad.tif: .*{cause}"):
        Infrared(8).read(tmp_path / "bad.tif")
    assert capfd.readouterr() == ("", "")


def test_an_uncompressed_tiff_that_is_shorter_than_its_pixels_is_truncated():
    content = file_of(scene(), "TIFF")
    at = content.index(struct.pack("<H", 257))  # the entry that tells how many rows there are
    with pytest.raises(InputError, match=r"truncated TIFF data \(not enough for 16 x 1200 pixels\)"):
        Infrared(8).read(content[: at + 8] + struct.pack("<H", 1200) + content[at + 10 :])


@pytest.mark.parametrize(
    "source, cause",
    [
        ("gone.png", "gone.png: does not exist"),
        (np.zeros((4, 4, 4)), r"is not \(rows, columns\)"),
        (np.zeros((0, 4)), r"has no pixels \(4 x 0\)"),
        (np.full((4, 4), np.inf), "has 16 pixels that are not finite"),
        (np.zeros((4, 4), complex), "has the dtype complex128; numbers are read"),
        (np.zeros((200, 200)), "40000 pixels, over the limit of 30000"),
        (4.5, "cannot be read as a picture"),
    ],
)
def test_a_bad_source_is_an_error(source, cause):
    with pytest.raises(InputError, match=cause):
        Infrared(8, pixel_limit=30_000).read(source)


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"fit": "native"}, "size must be None with fit='native'"),
        ({"window": (1, 1)}, "window must be two different values"),
        ({"percent": 50}, r"percent must be in \[0, 50\)"),
        ({"pixel_limit": 0}, "pixel_limit must be positive"),
        ({"stem": Part(PatchStem)}, "stem must take 1 channel, not 3"),
    ],
)
def test_a_wrong_setting_is_named(options, cause):
    with pytest.raises(ValueError, match=cause):
        Infrared(8, **options)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        Infrared(8).collate([])


def test_real_infrared_pictures_are_one_channel_and_their_targets_stay_bright(shared_data):
    folder = shared_data / "sirst_infrared"
    with zipfile.ZipFile(folder / "sirst_images.zip") as images, zipfile.ZipFile(folder / "sirst_masks.zip") as masks:
        brighter = []
        for name in images.namelist()[::50]:
            sample = native().read(images.read(name))
            assert sample.record.notes == ()
            mask = np.asarray(Pillow.open(io.BytesIO(masks.read(name[:-4] + ".png")))) > 0
            back = restored(sample)
            assert back.shape == mask.shape
            brighter.append(back[mask].mean() > back.mean())
        assert np.mean(brighter) > 0.8
