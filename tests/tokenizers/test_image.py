"""The image tokenizer: fits, tokens in each layout, and the way back to pixels and to the original picture."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.sample import Batch
from unimodal.stems.convolution import ConvolutionStem
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image

PATCH_4 = Part(PatchStem, patch=4)


def scene(rows: int, columns: int) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns]
    planes = [255 * x / columns, 255 * y / rows, 127 + 100 * np.sin(x / 9 + y / 13)]
    return np.stack(planes, -1).astype(np.uint8)


def jpeg(rows: int, columns: int) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(scene(rows, columns)).save(file, "JPEG", quality=95)
    return file.getvalue()


def seen(image: Image, *arrays: np.ndarray) -> Batch:
    return image.collate([image.read(array) for array in arrays])


def one_tensor(batch: Batch) -> torch.Tensor:
    assert isinstance(batch.data, torch.Tensor)
    return batch.data


@pytest.mark.parametrize("source", [(30, 50), (50, 30), (7, 90), (400, 300), (1, 1), (3, 1000)])
@pytest.mark.parametrize(
    "options",
    [
        {"fit": "resize", "size": (16, 24)},
        {"fit": "crop", "size": 16, "crop_fraction": 0.9},
        {"fit": "crop", "size": (16, 24)},
        {"fit": "inside", "size": 32},
        {"fit": "inside", "size": (30, 18)},
        {"fit": "native", "size": None},
    ],
)
def test_each_fit_has_its_size_and_counts_its_tokens(source, options):
    rows, columns = source
    image = Image(8, stem=PATCH_4, **options)
    sample = image.read(scene(rows, columns))
    shape = tuple(sample.data.shape[1:])
    if options["fit"] in ("resize", "crop"):
        assert shape == image.size
    elif image.size is not None:
        shrink = min(image.size[0] / rows, image.size[1] / columns, 1)
        for side, length, most in zip(shape, source, image.size, strict=True):
            assert side % 4 == 0
            assert 4 <= side <= most
            assert abs(side - length * shrink) <= 2 or side in (4, most // 4 * 4)
    else:
        assert shape == tuple(max(4, 4 * round(length / 4)) for length in source)
    assert sample.data.dtype == torch.uint8
    assert sample.record.size == shape
    tokens = image(image.collate([sample]))
    assert tokens.side.grid is not None
    assert sample.cost == tokens.x.shape[1] == tokens.side.grid[0] * tokens.side.grid[1]
    assert tokens.side.modality == "image"


@pytest.mark.parametrize("fraction", [1.0, 0.875])
def test_crop_shows_the_fraction_of_the_shorter_side_from_the_middle(fraction):
    image = Image(8, stem=PATCH_4, fit="crop", size=80, crop_fraction=fraction)
    sample = image.read(scene(80, 120))
    part = round(80 * fraction)
    expected = Pillow.fromarray(scene(80, 120)[(80 - part) // 2 :][:part, (120 - part) // 2 :][:, :part])
    expected = np.asarray(expected.resize((80, 80), Pillow.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(sample.data.numpy().astype(int) - expected).max() <= 2
    assert sample.record.offset == ((120 - part) / 2, (80 - part) / 2)


@pytest.mark.parametrize("name", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(16, 24), (90, 70)])
def test_each_filter_equals_pillows(name, size):
    image = Image(8, stem=PATCH_4, fit="resize", size=size, resample=name)
    expected = Pillow.fromarray(scene(41, 57)).resize(size[::-1], Pillow.Resampling[name.upper()])
    difference = image.read(scene(41, 57)).data.numpy().astype(int) - np.asarray(expected).transpose(2, 0, 1)
    assert np.abs(difference).max() <= 2


def test_a_large_jpeg_decoded_small_looks_like_the_one_decoded_whole():
    image = Image(8, fit="resize", size=64)
    whole = Pillow.open(io.BytesIO(jpeg(480, 640)))
    whole.load()
    small, large = image.read(jpeg(480, 640)), image.read(whole)
    assert (small.data.float() - large.data.float()).abs().mean() < 1
    assert small.record.scale == large.record.scale == (10.0, 7.5)


@pytest.mark.parametrize("stem", [PATCH_4, Part(ConvolutionStem, widths=(4, 6))])
def test_pixels_are_normalised_and_go_through_the_stem_row_by_row(stem):
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    image = Image(8, stem=stem, fit="resize", size=(8, 12), mean=mean, std=std).eval()
    batch = seen(image, scene(8, 12), scene(20, 20))
    normal = (one_tensor(batch).double() / 255 - torch.tensor(mean).double().view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    cells = image.stem(normal.float())
    tokens = image(batch)
    assert tokens.side.grid == (2, 3)
    assert tokens.x.is_contiguous()
    for row in range(2):
        for column in range(3):
            expected = cells[:, :, row, column]
            torch.testing.assert_close(tokens.x[:, 3 * row + column], expected, rtol=1e-5, atol=1e-5)
    already = image(Batch("image", normal.float())).x
    torch.testing.assert_close(already, tokens.x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stem", [PATCH_4, Part(ConvolutionStem, widths=(4, 6))])
def test_mixed_sizes_are_packed_in_order_and_equal_each_picture_alone(stem):
    image = Image(8, stem=stem, fit="native", size=None).eval()
    arrays = [scene(*size) for size in [(9, 13), (20, 8), (9, 13), (4, 5), (20, 8)]]
    batch = seen(image, *arrays)
    tokens = image(batch)
    assert isinstance(batch.data, tuple)
    assert len(batch) == tokens.sequences == 5
    assert tokens.side.grids == ((2, 3), (5, 2), (2, 3), (1, 1), (5, 2))
    assert tokens.side.cu_seqlens is not None
    assert tokens.side.cu_seqlens.tolist() == [0, 6, 16, 22, 23, 33]
    padded = tokens.padded()
    for index, array in enumerate(arrays):
        alone = image(seen(image, array))
        assert (alone.side.grid, alone.side.cu_seqlens) == (tokens.side.grids[index], None)
        torch.testing.assert_close(tokens.split()[index], alone.x[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(padded.split()[index], alone.x[0], rtol=0, atol=1e-6)


def test_gradients_of_packed_and_uniform_batches_reach_the_stem():
    image = Image(8, stem=PATCH_4, fit="native", size=None)
    for arrays in ([scene(8, 8), scene(8, 12)], [scene(8, 8)] * 2):
        image.zero_grad()
        image(seen(image, *arrays)).x.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in image.parameters())


def test_a_model_in_half_precision_normalises_in_full_precision():
    image = Image(8, stem=PATCH_4, fit="resize", size=16, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    batch = seen(image, scene(16, 16))
    full = image(batch).x
    half = image.bfloat16()(batch).x
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("bias", [True, False])
def test_detokenize_gives_back_the_pixels_in_each_layout(bias):
    stem = Part(PatchStem, patch=4, bias=bias)
    image = Image(60, stem=stem, fit="native", size=None, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    uniform, mixed = seen(image, scene(12, 8), scene(12, 8)), seen(image, scene(12, 8), scene(4, 16), scene(8, 8))
    assert torch.equal(one_tensor(image.detokenize(image(uniform))), one_tensor(uniform))
    for layout in (image(mixed), image(mixed).padded()):
        back = image.detokenize(layout).data
        assert len(back) == 3
        assert all(torch.equal(one, other) for one, other in zip(back, mixed.data, strict=True))


def test_detokenize_drops_the_prefix():
    image = Image(60, stem=PATCH_4, fit="resize", size=8)
    batch = seen(image, scene(8, 8))
    tokens = image(batch)
    longer = tokens.replace(torch.cat([torch.randn(1, 2, 60), tokens.x], 1), prefix=2)
    assert torch.equal(one_tensor(image.detokenize(longer)), one_tensor(batch))


def test_what_cannot_be_inverted_says_why():
    narrow = Image(47, stem=PATCH_4, size=8)
    with pytest.raises(ValueError, match="48 values became 47 numbers of rank 47; it needs a width of at least 48"):
        narrow.detokenize(narrow(seen(narrow, scene(8, 8))))
    flat = Image(50, stem=PATCH_4, size=8)
    torch.nn.init.zeros_(flat.stem.project.weight)
    with pytest.raises(ValueError, match="of rank 0"):
        flat.detokenize(flat(seen(flat, scene(8, 8))))
    other = Image(50, stem=Part(ConvolutionStem), size=8)
    with pytest.raises(ValueError, match="the stem is a ConvolutionStem"):
        other.detokenize(other(seen(other, scene(8, 8))))
    wide = Image(50, stem=PATCH_4, size=8)
    with pytest.raises(ValueError, match=r"side\.grid"):
        wide.detokenize(wide(seen(wide, scene(8, 8))).replace(grid=None))


@pytest.mark.parametrize("fit, size", [("crop", 64), ("resize", (48, 64)), ("inside", 64), ("native", None)])
def test_points_come_back_to_a_thousandth_of_a_pixel(fit, size):
    image = Image(8, fit=fit, size=size)
    record = image.read(jpeg(301, 467)).record
    points = torch.tensor([[233.5, 150.5], [100.25, 44.125], [466.0, 300.0]])
    back = image.to_original(image.to_model(points, record), record)
    torch.testing.assert_close(back, points, rtol=0, atol=1e-3)
    middle = image.to_model(points[:1], record)[0] / torch.tensor([record.size[1], record.size[0]])
    torch.testing.assert_close(middle, torch.tensor([0.5, 0.5]), rtol=0, atol=0.02)


def test_a_label_map_lies_over_the_original_where_its_things_are():
    """A square of the original is found in the model's picture and put back: at least its area less one px around."""
    array = np.zeros((90, 120), np.uint8)
    array[30:60, 40:80] = 255
    for fit in ("crop", "resize"):
        image = Image(8, stem=PATCH_4, fit=fit, size=180)
        sample = image.read(array)
        labels = image.restore((sample.data[0] > 127).long(), sample.record)
        expected = torch.from_numpy(array > 0).long()
        if fit == "crop":
            expected[:, :15] = expected[:, 105:] = -1
        assert labels.shape == (90, 120)
        assert (labels != expected).sum() <= 2 * (30 + 40)
        assert torch.equal(labels == -1, expected == -1)


def test_several_threads_read_what_one_reads():
    image = Image(8, fit="crop", size=64)
    sources = [jpeg(100 + 7 * i, 300 - 5 * i) for i in range(12)] + [scene(90 + i, 70) for i in range(4)]
    alone = [image.read(source).data for source in sources]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: image.read(sources[i % 16]).data, range(96)))
    assert all(torch.equal(data, alone[i % 16]) for i, data in enumerate(together))


def test_a_sample_says_what_it_was_read_from(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(300, 400))
    sample = Image(8).read(path)
    assert (sample.modality, sample.source, sample.original) == ("image", str(path), path)
    record = sample.record
    assert (record.width, record.height, record.mode, record.format, record.orientation) == (400, 300, "RGB", "JPEG", 1)
    assert json.loads(json.dumps(record.to_json()))["size"] == [224, 224]


def test_a_part_comes_back_from_json_and_builds_the_same_module():
    part = Part(Image, stem=Part(PatchStem, patch=8), size=(16, 24), fit="resize", mean=(0.1, 0.2, 0.3))
    again = Part.from_json(json.loads(json.dumps(part.to_json())))
    assert again == part
    first, second = part(12), again(12)
    assert set(first.state_dict()) == {"stem.project.weight", "stem.project.bias"}
    second.load_state_dict(first.state_dict())
    batch = seen(first, scene(30, 40))
    assert torch.equal(first(batch).x, second(batch).x)


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"fit": "squash"}, "fit must be one of crop, resize, inside, native, not 'squash'"),
        ({"size": None}, "size must be given with fit='crop'"),
        ({"fit": "native"}, "size must be None with fit='native', not 224"),
        ({"size": (224, 15)}, "at least the stem's stride of 16 px"),
        ({"mean": (0.5, 0.5)}, "mean and std must be three numbers"),
        ({"std": (0.5, 0.5, 0.0)}, "std positive"),
        ({"resample": "cubic"}, "resample must be one of nearest"),
        ({"crop_fraction": 0}, r"crop_fraction must be in \(0, 1\]"),
        ({"crop_fraction": 1.5}, r"crop_fraction must be in \(0, 1\]"),
        ({"pixel_limit": 0}, "pixel_limit must be positive"),
        ({"stem": Part(PatchStem, channels=1)}, "mean and std must be 1 numbers, one a channel"),
    ],
)
def test_a_wrong_setting_is_named(options, cause):
    with pytest.raises(ValueError, match=cause):
        Image(8, **options)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        Image(8).collate([])


def test_the_pixel_limit_is_the_tokenizers_own():
    with pytest.raises(InputError, match="6000 pixels, over the limit of 5999"):
        Image(8, pixel_limit=5999).read(jpeg(60, 100))
    assert Image(8, pixel_limit=6000).read(jpeg(60, 100)).cost == 196
