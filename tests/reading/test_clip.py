"""Clips: frames at wanted times of files written here in many ways, of arrays and lists."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.errors import InputError
from unimodal.reading.clip import Clip, open_clip
from unimodal.reading.film import Film

av = pytest.importorskip("av")
CORNERS = np.array([[[220, 30, 30], [30, 200, 30]], [[40, 40, 220], [0, 0, 0]]])  # red, green above; blue, grey below

CODED = """
    mp4:libx264:yuv420p mp4:libx264:yuv444p mp4:libx264:yuv422p mp4:libx264:yuv420p10le mp4:mpeg4:yuv420p
    mov:libx264:yuv420p mov:rawvideo:rgb24 webm:libvpx:yuv420p webm:libvpx-vp9:yuv420p matroska:libx264:yuv420p
    matroska:ffv1:bgr0 avi:mpeg4:yuv420p avi:mjpeg:yuvj420p mpegts:libx264:yuv420p mpegts:mpeg2video:yuv420p
    flv:flv1:yuv420p asf:wmv2:yuv420p mpeg:mpeg2video:yuv420p 3gp:mpeg4:yuv420p
"""


def scene(index: int, rows: int = 48, columns: int = 64) -> np.ndarray:
    """Four corners of one colour each; the grey of the last says which frame it is."""
    picture = np.zeros((rows, columns, 3), np.uint8)
    for i, j in np.ndindex(2, 2):
        part = np.s_[i * rows // 2 : (i + 1) * rows // 2, j * columns // 2 : (j + 1) * columns // 2]
        picture[part] = CORNERS[i, j] if i * j == 0 else 8 * (index % 32)
    return picture


def film(
    count: int = 20,
    *,
    form: str = "mp4",
    codec: str = "libx264",
    layout: str = "yuv420p",
    size: tuple[int, int] = (48, 64),
    stamps_ms: list[int] | None = None,
    turn: tuple[Any, ...] | None = None,
    matrix: str | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    keyframes: int = 250,
    path: Path | None = None,
) -> bytes:
    file = io.BytesIO()
    with av.open(path or file, "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=10)
        (stream.height, stream.width), stream.pix_fmt, stream.gop_size = size, layout, keyframes
        if turn is not None:
            stream.set_display_rotation(*turn)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix == "stated":
            stream.codec_context.colorspace = 1
        if stamps_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(scene(i, *size), format="rgb24")
            if matrix is not None:
                frame = frame.reformat(format=layout, dst_colorspace="ITU709", dst_color_range="MPEG")
                frame.colorspace = 1 if matrix == "stated" else 2
            if stamps_ms is not None:
                frame.pts, frame.time_base = stamps_ms[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue() if path is None else path.read_bytes()


@pytest.fixture
def opened() -> Callable[[Any], Any]:
    return lambda source: open_clip(source, pixel_limit=10**7, array_hz=10.0)


def looked(clip: Clip, *times: float) -> tuple[np.ndarray, tuple[float, ...]]:
    """Whole frames (T, Y, X, 3) and their stamps."""
    width, height = clip.size
    frames, stamps, _ = clip.frames(times, (height, width), (0, 0, width, height), Image.Resampling.BILINEAR)
    return frames.permute(0, 2, 3, 1).numpy(), stamps


def numbers(frames: np.ndarray) -> list[int]:
    """Which frame each one is, by the grey of its last corner."""
    rows, columns = frames.shape[1:3]
    return [round(float(f[rows * 3 // 4, columns * 3 // 4].mean()) / 8) for f in frames]


def corners(frame: np.ndarray) -> str:
    """The corners' colours row by row: R, G, B or . for grey."""
    rows, columns = frame.shape[:2]
    picks = [frame[y, x] for y in (rows // 4, rows * 3 // 4) for x in (columns // 4, columns * 3 // 4)]
    return "".join("." if np.ptp(p.astype(int)) < 80 else "RGB"[int(p.argmax())] for p in picks)


@pytest.mark.parametrize("coded", CODED.split())
def test_every_container_and_layout_gives_the_frame_on_display_in_its_colours(opened, coded):
    form, codec, layout = coded.split(":")
    with opened(film(form=form, codec=codec, layout=layout)) as clip:
        frames, stamps = looked(clip, 0.05, 0.45, 1.25)
        assert clip.size == (64, 48)
        assert clip.duration_s == pytest.approx(2.0, abs=0.11)
    assert numbers(frames) == [0, 4, 12]
    assert stamps == pytest.approx((0.0, 0.4, 1.2), abs=0.02)
    for place, colour in ((np.s_[:, 12, 16], CORNERS[0, 0]), (np.s_[:, 12, 48], CORNERS[0, 1])):
        assert np.abs(frames[place].astype(int) - colour).max() < 14


@pytest.mark.parametrize(
    ("turn", "orientation", "shown"),
    [
        (None, 1, "RGB."),
        ((-90,), 6, "BR.G"),  # a phone held upright
        ((90,), 8, "G.RB"),
        ((180,), 3, ".BGR"),
        ((0, True, False), 2, "GR.B"),  # mirrored
        ((0, False, True), 4, "B.RG"),
        ((90, True, False), 7, ".GBR"),
        ((-90, True, False), 5, "RBG."),
    ],
)
@pytest.mark.parametrize("form", ["mp4", "mov", "matroska"])
def test_a_display_matrix_is_obeyed(opened, form, turn, orientation, shown):
    with opened(film(3, form=form, turn=turn)) as clip:
        frames, _ = looked(clip, 0.0)
        assert clip.orientation == orientation
        assert clip.size == ((48, 64) if orientation > 4 else (64, 48))
    assert frames.shape[1:3] == clip.size[::-1]
    assert corners(frames[0]) == shown


def test_a_part_of_a_turned_frame_is_the_part_as_displayed(opened):
    with opened(film(3, turn=(-90,))) as clip:
        left_half, _, box = clip.frames([0.0], (32, 24), (0, 0, 24, 64), Image.Resampling.BILINEAR)
    assert box == (0, 0, 24, 64)
    assert left_half[0, 2, 8, 12] > 150  # blue above
    assert left_half[0, :, 24, 12].max() < 40  # the black of frame 0 below


@pytest.mark.parametrize("turn", [None, (-90,)])
def test_pixels_that_are_not_square_are_stretched(opened, turn):
    with opened(film(3, aspect=Fraction(3, 2), turn=turn)) as clip:
        assert clip.aspect == 1.5
        assert clip.size == ((96, 48) if turn is None else (48, 96))
        frames, _ = looked(clip, 0.0)
    assert corners(frames[0]) == ("RGB." if turn is None else "BR.G")


def test_frames_of_uneven_times_are_found_by_their_stamps(opened):
    stamps = [0, 40, 80, 500, 900, 2000, 2040]
    with opened(film(7, stamps_ms=stamps)) as clip:
        frames, found = looked(clip, 0.02, 0.04, 0.3, 0.49, 0.51, 1.9, 2.01)
    assert numbers(frames) == [0, 1, 2, 2, 3, 4, 5]
    assert found == pytest.approx((0.0, 0.04, 0.08, 0.08, 0.5, 0.9, 2.0), abs=1e-3)


@pytest.mark.parametrize("form", ["mp4", "matroska", "webm", "avi", "mpegts"])
@pytest.mark.parametrize("keyframes", [12, 1000])
def test_far_times_are_found_by_seeking_and_by_decoding_alike(opened, form, keyframes):
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(form, "libx264")
    times = [0.05, 0.15, 4.95, 9.05, 17.95, 18.05, 29.95]
    with opened(film(300, form=form, codec=codec, keyframes=keyframes)) as clip:
        frames, _ = looked(clip, *times)
    assert numbers(frames) == [int(10 * t + 0.01) % 32 for t in times]


def test_no_more_is_decoded_than_the_wanted_frames_need(opened, monkeypatch):
    decoded = []
    whole = Film._decoded

    def counted(self):
        for item in whole(self):
            decoded.append(item[0])
            yield item

    monkeypatch.setattr(Film, "_decoded", counted)
    with opened(film(600, keyframes=10)) as clip:
        looked(clip, 5.5, 29.5, 55.5)
    assert len(decoded) < 60


@pytest.mark.parametrize("options", [{"movflags": "frag_keyframe+empty_moov"}, {"movflags": "faststart"}])
def test_mp4_files_in_pieces_and_with_the_index_in_front_are_whole(opened, options, tmp_path):
    with opened(film(60, keyframes=10, options=options, path=tmp_path / "a.mp4")) as clip:
        assert clip.duration_s == pytest.approx(6.0, abs=0.11)
        frames, _ = looked(clip, 0.05, 3.05, 5.85)
    assert numbers(frames) == [0, 30, 58 % 32]


def test_a_recording_without_duration_or_index_is_measured(opened):
    data = film(60, form="webm", codec="libvpx", options={"live": "1"}, keyframes=10)
    with av.open(io.BytesIO(data)) as container:
        assert container.duration is None
    with opened(data) as clip:
        assert clip.duration_s == pytest.approx(6.0, abs=0.11)
        frames, _ = looked(clip, 0.05, 3.05, 5.85)
    assert numbers(frames) == [0, 30, 58 % 32]


@pytest.mark.parametrize("matrix", ["stated", "not stated"])
def test_high_definition_has_the_colour_matrix_that_players_take(opened, matrix):
    with opened(film(2, size=(720, 1280), matrix=matrix)) as clip:
        frames, _ = looked(clip, 0.0)
    assert np.abs(frames[0, 100, 100].astype(int) - CORNERS[0, 0]).max() < 8


@pytest.mark.parametrize("kind", ["array", "grey", "tensor", "list of arrays", "pictures", "files", "floats"])
def test_arrays_and_lists_are_played_at_the_rate_that_is_stated(opened, kind, tmp_path):
    array = np.stack([scene(i) for i in range(6)])
    for i, frame in enumerate(array):
        Image.fromarray(frame).save(tmp_path / f"{i}.png")
    source = {
        "array": array,
        "grey": array[..., :1],
        "tensor": torch.from_numpy(array),
        "list of arrays": list(array),
        "pictures": [Image.fromarray(frame) for frame in array],
        "files": sorted(tmp_path.glob("*.png")),
        "floats": array.astype(np.float32) / 255,
    }[kind]
    with opened(source) as clip:
        assert (clip.duration_s, clip.size, clip.format) == (pytest.approx(0.6), (64, 48), None)
        frames, stamps = looked(clip, 0.0, 0.1, 0.19, 0.55)
    assert numbers(frames) == [0, 1, 1, 5]
    assert stamps == pytest.approx((0.0, 0.1, 0.1, 0.5))
    assert np.array_equal(frames[1], array[1] if kind != "grey" else np.repeat(array[1, ..., :1], 3, -1))


def test_frames_of_other_sizes_show_the_same_share(opened):
    with opened([scene(3), scene(4, 96, 128)]) as clip:
        frames, _, box = clip.frames([0.0, 0.1], (12, 16), (32, 24, 64, 48), Image.Resampling.BILINEAR)
    assert box == (32, 24, 64, 48)
    assert numbers(frames.permute(0, 2, 3, 1).numpy()) == [3, 4]


def test_a_file_object_stays_open_and_paths_are_closed(opened, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(film(4))
    with path.open("rb") as file:
        with opened(file) as clip:
            looked(clip, 0.1)
        assert not file.closed
    with opened(str(path)) as clip:
        assert clip.name == str(path)


def with_sound(video_s: int, sound_s: int) -> bytes:
    """FLV: its only duration is that of the whole file."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv") as container:
        pictures, sound = container.add_stream("flv1", rate=10), container.add_stream("aac", rate=16_000, layout="mono")
        pictures.width, pictures.height, pictures.pix_fmt, pictures.gop_size = 64, 48, "yuv420p", 5
        for second in range(max(video_s, sound_s)):
            for i in range(10 * (second < video_s)):
                frame = av.VideoFrame.from_ndarray(scene(10 * second + i), format="rgb24")
                frame.pts, frame.time_base = 10 * second + i, Fraction(1, 10)
                container.mux(pictures.encode(frame))
            if second < sound_s:
                noise = np.random.default_rng(second).normal(0, 0.1, (1, 16_000)).astype(np.float32)
                block = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 16_000, 16_000 * second, Fraction(1, 16_000)
                container.mux(sound.encode(block))
        for stream in (pictures, sound):
            container.mux(stream.encode())
    return file.getvalue()


def test_the_last_frame_stays_while_sound_goes_on_and_a_file_cut_short_is_told_from_that(opened):
    with opened(with_sound(2, 6)) as clip:
        assert clip.duration_s == pytest.approx(6, abs=0.2)
        frames, stamps = looked(clip, 1.05, 5.0)
    assert numbers(frames) == [10, 19]
    assert stamps == pytest.approx((1.0, 1.9), abs=0.01)
    whole = with_sound(6, 6)
    with opened(whole[: len(whole) // 2]) as clip, pytest.raises(InputError, match="lasts 6.* s, .* up to .* s only"):
        looked(clip, 1.05, 5.0)


def test_several_threads_read_at_once(opened, tmp_path):
    (tmp_path / "a.mp4").write_bytes(film(60, keyframes=10))

    def read(path):
        with opened(path) as clip:
            return looked(clip, 0.05, 3.05, 5.85)[0]

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(read, [tmp_path / "a.mp4"] * 24))
    assert all(np.array_equal(result, results[0]) for result in results)
