"""The video tokenizer: which frames it looks at, tokens in each layout, and the way back."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from unimodal.part import Part
from unimodal.reading.clip_record import ClipRecord
from unimodal.sample import Batch
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokenizers.image import Image
from unimodal.tokenizers.video import Video

SMALL = Part(TubeletStem, patch=(2, 4, 4))


def scene(frames: int, rows: int = 24, columns: int = 32) -> np.ndarray:
    """Frame t is t everywhere in red, and has gradients in green and blue."""
    t, y, x = np.mgrid[:frames, :rows, :columns]
    return np.stack([t, 255 * y / rows, 255 * x / columns], -1).astype(np.uint8)


def seen(sample: Any) -> list[int]:
    """Which frame of :func:`scene` each one is."""
    return sample.data[0, :, 0, 0].tolist()


@pytest.mark.parametrize("count", [1, 3, 8, 17, 100])
@pytest.mark.parametrize("frames", [2, 8])
@pytest.mark.parametrize("window_s", [None, 0.4, 50.0])
def test_without_a_rate_it_looks_at_the_middles_of_equal_parts_of_the_window(count, frames, window_s):
    video = Video(8, stem=SMALL, frames=frames, window_s=window_s, size=24, array_hz=10.0)
    record = video.read(scene(count)).record
    length = count / 10
    window = min(length, window_s or length)
    for i in range(frames):
        wanted = (length - window) / 2 + (i + 0.5) * window / frames
        assert record.wanted_s[i] == pytest.approx(wanted)
        assert record.times_s[i] == pytest.approx(math.floor(10 * wanted + 1e-6) / 10)
    assert record.window_s == pytest.approx(((length - window) / 2, (length + window) / 2))
    assert (record.duration_s, record.rate_hz) == (pytest.approx(length), 10.0)


@pytest.mark.parametrize(
    ("count", "rate_hz", "frames", "expected"),
    [
        (40, 5.0, None, list(range(1, 40, 2))),  # every second frame of all
        (40, 10.0, None, list(range(40))),
        (41, 10.0, None, list(range(1, 41))),  # whole tubelets: one frame is left out
        (40, 10.0, 8, list(range(16, 24))),  # the middle, at the rate asked for
        (3, 2.5, 8, [0, 2]),  # at least one tubelet, within the clip
        (1, 5.0, 8, [0, 0]),
    ],
)
def test_with_a_rate_it_looks_at_the_middle_of_the_clip_at_that_rate(count, rate_hz, frames, expected):
    video = Video(8, stem=SMALL, frames=frames, rate_hz=rate_hz, size=24, array_hz=10.0)
    sample = video.read(scene(count))
    assert seen(sample) == expected
    steps = np.diff(sample.record.wanted_s)
    if count > 3:
        assert np.allclose(steps, 1 / rate_hz)


def test_the_defaults_make_392_tokens_of_any_clip():
    video = Video(128)
    for count, rows, columns in ((1, 30, 50), (40, 300, 200), (16, 112, 112)):
        sample = video.read(scene(count, rows, columns))
        tokens = video(video.collate([sample]))
        assert tokens.x.shape == (1, sample.cost, 128) == (1, 392, 128)
        assert tokens.side.grid == sample.record.grid == (8, 7, 7)


def test_a_token_is_the_projection_of_its_normalised_tubelet():
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    video = Video(7, stem=Part(TubeletStem, patch=(2, 3, 3)), frames=4, size=None, fit="native", mean=mean, std=std)
    sample = video.read(scene(4, 6, 9))
    tokens = video(video.collate([sample]))
    weight, bias = video.stem.project.weight.double(), video.stem.project.bias.double()
    for n, (t, y, x) in enumerate(np.ndindex(2, 2, 3)):
        for d in range(7):
            expected = bias[d]
            for c, i, j, k in np.ndindex(3, 2, 3, 3):
                value = scene(4, 6, 9)[2 * t + i, 3 * y + j, 3 * x + k, c] / 255
                expected = expected + weight[d, c, i, j, k] * (value - mean[c]) / std[c]
            torch.testing.assert_close(tokens.x[0, n, d].double(), expected, rtol=1e-5, atol=1e-5)
    pixels = sample.data.float() / 255
    normal = (pixels - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
    torch.testing.assert_close(video(Batch("video", normal[None])).x, tokens.x, rtol=1e-5, atol=1e-5)


def test_clips_of_all_sizes_are_packed_in_order():
    video = Video(8, stem=SMALL, frames=None, rate_hz=25.0, size=None, fit="native").eval()
    clips = [scene(*size) for size in [(4, 9, 13), (6, 20, 8), (4, 9, 13), (1, 4, 5)]]
    tokens = video(video.collate([video.read(clip) for clip in clips]))
    assert tokens.side.grids == ((2, 2, 3), (3, 5, 2), (2, 2, 3), (1, 1, 1))
    for row, clip in zip(tokens.split(), clips, strict=True):
        alone = video(video.collate([video.read(clip)])).x[0]
        torch.testing.assert_close(row, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fit", ["crop", "resize", "inside", "native"])
def test_frames_are_fitted_as_pictures_are(fit):
    for rows, columns in ((30, 50), (100, 20), (7, 90)):
        size = None if fit == "native" else (16, 24)
        clip = scene(2, rows, columns)
        sample = Video(8, stem=SMALL, frames=2, size=size, fit=fit).read(clip)
        picture = Image(8, stem=Part(PatchStem, patch=4), size=size, fit=fit).read(clip[1])
        assert torch.equal(sample.data[:, 1], picture.data)
        ours, theirs = sample.record.spatial, picture.record
        assert (ours.size, ours.scale, ours.offset) == (theirs.size, theirs.scale, theirs.offset)


def test_detokenize_gives_the_pixels_back():
    video = Video(120, stem=SMALL, frames=4, size=None, fit="native", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    batch = video.collate([video.read(scene(4, 8, 12)), video.read(scene(4, 12, 8))])
    back = video.detokenize(video(batch))
    assert all(torch.equal(a, b) for a, b in zip(back.data, batch.data, strict=True))
    narrow = Video(95, stem=SMALL, frames=4, size=8)
    tokens = narrow(narrow.collate([narrow.read(scene(4))]))
    with pytest.raises(ValueError, match="needs a width of at least 96"):
        narrow.detokenize(tokens)


def test_maps_are_laid_over_the_clips_own_pixels_and_times():
    video = Video(8, stem=SMALL, frames=8, size=(24, 24), array_hz=10.0)
    record = video.read(scene(40, 48, 96)).record
    assert record.grid == (4, 6, 6)
    labels = torch.arange(4)[:, None, None].expand(4, 6, 6) * 10 + torch.arange(6)
    laid = record.restore(labels)
    assert laid.shape == (8, 48, 96)
    assert laid[:, 20, 30].tolist() == [0, 0, 10, 10, 20, 20, 30, 30]
    assert laid[0, 5].tolist() == [-1] * 24 + [x // 8 for x in range(48)] + [-1] * 24
    assert record.restore(labels, at_s=[0.95, 1.05, 3.9])[:, 20, 30].tolist() == [0, 10, 30]
    rising = torch.arange(4.0)[:, None, None].expand(4, 6, 6).expand(2, 4, 6, 6)
    at = [0.0, 0.5, 1.0, 1.75, 3.5, 4.0]
    laid = video.restore(rising, record, at_s=at, fill=7.0)
    assert laid.shape == (2, 6, 48, 96)
    assert laid[1, :, 20, 40].tolist() == pytest.approx([0.0, 0.0, 0.5, 1.25, 3.0, 3.0])
    assert laid[0, 0, 0, 0] == 7.0
    assert ClipRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    with pytest.raises(ValueError, match="must be a map"):
        record.restore(torch.zeros(6, 6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit": "stretch"}, "fit must be one of crop, resize, inside, native, not 'stretch'"),
        ({"size": None}, "size must be given with fit='crop'"),
        ({"size": 8}, "size must be at least the stem's stride of 16 px"),
        ({"frames": 7}, "frames must be a multiple of the stem's 2 frames, not 7"),
        ({"frames": 0}, "frames must be a multiple of the stem's 2 frames, not 0"),
        ({"frames": None}, "frames must be given without rate_hz"),
        ({"rate_hz": 0.0}, "rate_hz must be positive"),
        ({"window_s": -1.0}, "window_s must be positive"),
        ({"array_hz": float("nan")}, "array_hz must be positive"),
        ({"pixel_limit": 0}, "pixel_limit must be positive"),
        ({"resample": "sharp"}, "resample must be one of"),
        ({"crop_fraction": 1.5}, r"crop_fraction must be in \(0, 1\]"),
        ({"std": (0.0, 1.0, 1.0)}, "std positive"),
        ({"stem": Part(TubeletStem, channels=1)}, "stem must take 3 channels"),
        ({"stem": Part(TubeletStem, patch=(2, 8, 4))}, "square patches"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Video(8, **settings)


def test_real_clips_are_read_within_their_length_and_move(shared_data):
    folder = shared_data / "short_videos"
    video = Video(128)
    clips = [folder / "car-detection.mp4", *sorted((folder / "asl_words").glob("*.mp4"))[:3]]
    samples = [video.read(clip) for clip in clips]
    tokens = video(video.collate(samples))
    assert tokens.x.shape == (4, 392, 128)
    for sample in samples:
        record = sample.record
        assert 0 <= record.times_s[0] < record.times_s[-1] < record.duration_s
        assert sample.data.float().std() > 20
        steps = sample.data.float().diff(dim=1).abs().mean()
        assert 0.1 < steps < 60
    assert samples[0].record.rate_hz == pytest.approx(12)
    assert (samples[0].record.spatial.width, samples[0].record.spatial.height) == (320, 180)
    assert (samples[1].record.spatial.width, samples[1].record.spatial.height) == (320, 240)


def test_a_frame_of_a_real_clip_is_the_one_that_plain_decoding_gives(shared_data):
    av = pytest.importorskip("av")
    file = shared_data / "short_videos" / "one-by-one-person-detection.mp4"
    record = (sample := Video(8, fit="native", size=None, frames=4).read(file)).record
    with av.open(file) as container:
        frames = {round(float(f.time), 3): f for f in container.decode(video=0)}
    for i, stamp in enumerate(record.times_s):
        expected = frames[round(stamp, 3)].to_ndarray(format="rgb24")
        assert max(t for t in frames if t <= record.wanted_s[i] + 1e-4) == round(stamp, 3)
        assert sample.data.shape[2:] == (176, 320)
        cropped = np.asarray(Pillow.fromarray(expected).resize((320, 176), Pillow.Resampling.BICUBIC))
        assert np.abs(sample.data[:, i].permute(1, 2, 0).numpy().astype(int) - cropped).max() <= 2
