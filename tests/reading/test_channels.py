"""Pictures of one, two, four and more channels through the image tokenizer, and the way back."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image


def tokenizer(channels: int, dim: int = 8, **settings) -> Image:
    numbers = tuple(0.3 + 0.05 * c for c in range(channels))
    options = {"size": None, "fit": "native", "mean": numbers, "std": numbers, **settings}
    return Image(dim, stem=Part(PatchStem, patch=4, channels=channels), **options)


def cube(channels: int, rows: int = 8, columns: int = 12) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (rows, columns, channels)).astype(np.uint8)


def file_of(array: np.ndarray, form: str, mode: str | None = None) -> bytes:
    file, size = io.BytesIO(), (array.shape[1], array.shape[0])
    picture = Pillow.frombytes(mode, size, array.tobytes()) if mode else Pillow.fromarray(array)
    picture.save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_an_array_keeps_its_channels_and_comes_back_from_its_tokens(channels):
    image = tokenizer(channels, dim=16 * channels + 4)
    sample = image.read(cube(channels))
    assert np.array_equal(sample.data.permute(1, 2, 0), cube(channels))
    batch = image.collate([sample, image.read(cube(channels, 4, 4))])
    back = image.detokenize(image(batch)).data
    assert all(torch.equal(one, other) for one, other in zip(back, batch.data, strict=True))


def test_each_channel_is_normalised_by_its_own_numbers():
    image = tokenizer(4)
    sample = image.read(cube(4))
    normal = (cube(4) / 255 - np.array(image.mean)) / np.array(image.std)
    expected = image.stem(torch.from_numpy(normal).permute(2, 0, 1)[None].float()).flatten(2).mT
    torch.testing.assert_close(image(image.collate([sample])).x, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "channels, mode, form", [(4, "RGBA", "PNG"), (4, "RGBA", "TIFF"), (4, "CMYK", "TIFF"), (2, "LA", "PNG")]
)
def test_bands_of_a_file_are_channels_as_they_are_stored(channels, mode, form):
    sample = tokenizer(channels).read(file_of(cube(channels), form, mode))
    assert np.array_equal(sample.data.permute(1, 2, 0), cube(channels))
    assert (sample.record.mode, sample.record.format) == (mode, form)


def test_one_channel_is_the_grey_of_any_picture():
    grey = cube(1)[:, :, 0]
    for source in (grey, grey[:, :, None], file_of(grey, "PNG"), Pillow.fromarray(grey)):
        assert np.array_equal(tokenizer(1).read(source).data[0], grey)
    deep = grey.astype(np.uint16) * 257
    assert np.array_equal(tokenizer(1).read(file_of(deep, "PNG")).data[0], grey)
    colour = Pillow.fromarray(cube(3))
    assert np.array_equal(tokenizer(1).read(colour).data[0], np.asarray(colour.convert("L")))


@pytest.mark.parametrize("resample", ["bilinear", "lanczos", "nearest"])
@pytest.mark.parametrize("fit", ["crop", "resize", "inside"])
def test_channels_are_resized_like_those_of_a_colour_picture(resample, fit):
    four, three = (tokenizer(n, size=(8, 12), fit=fit, resample=resample) for n in (4, 3))
    smooth = np.asarray(Pillow.fromarray(cube(4, 6, 7)[:, :, :3]).resize((40, 30))).copy()
    one, other = three.read(smooth), four.read(np.concatenate([smooth, smooth[:, :, :1]], 2))
    assert (one.data.int() - other.data[:3].int()).abs().max() <= 1
    assert torch.equal(other.data[3], other.data[0])
    assert one.record.to_json() == other.record.to_json()


@pytest.mark.parametrize(
    "source, cause",
    [
        (np.zeros((4, 4, 3), np.uint8), r"is not \(rows, columns, 4\)"),
        (np.zeros((4, 4), np.uint8), r"is not \(rows, columns, 4\)"),
        (np.zeros((0, 4, 4), np.uint8), "has no pixels"),
        (np.full((4, 4, 4), np.nan), "values that are not finite"),
        (np.full((4, 4, 4), 7.0), "floats must be in 0..1"),
        (np.zeros((4, 4, 4), np.int64), "has the dtype int64"),
        (file_of(cube(3), "PNG"), r"has 3 channels \(RGB\), not 4"),
        (file_of(cube(4), "PNG", "RGBA")[:60], "damaged or truncated PNG"),
        (b"", "is empty"),
    ],
)
def test_what_has_not_these_channels_is_refused(source, cause):
    with pytest.raises(InputError, match=cause):
        tokenizer(4).read(source)


def test_a_part_of_four_channels_goes_through_json():
    part = Part(Image, stem=Part(PatchStem, channels=4), mean=(0.1, 0.2, 0.3, 0.4), std=(1.0, 1.0, 1.0, 2.0))
    again = Part.from_json(json.loads(json.dumps(part.to_json())))
    assert again == part
    assert again(8).read(cube(4)).data.shape == (4, 224, 224)
