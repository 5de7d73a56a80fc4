"""Files and the video tokenizer: what it says of them, what it claims, and what it refuses in which words."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from unimodal.errors import InputError, MissingExtraError
from unimodal.tokenizers.video import Video


def scene(frames: int, rows: int = 24, columns: int = 32) -> np.ndarray:
    """Frame t is t everywhere in red, and has gradients in green and blue."""
    t, y, x = np.mgrid[:frames, :rows, :columns]
    return np.stack([t, 255 * y / rows, 255 * x / columns], -1).astype(np.uint8)


def mp4(frames: int = 20, *, form: str = "mp4", path: Path | None = None, **options: str) -> bytes:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(path or file, "w", format=form, options=options) as container:
        stream = container.add_stream("libvpx" if form == "webm" else "libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 5
        for picture in scene(frames, 48, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue() if path is None else path.read_bytes()


def sound() -> bytes:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16_000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return file.getvalue()


def encoded(form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(scene(1)[0]).save(file, form, **options)
    return file.getvalue()


def animated(form: str, frames: int = 5) -> bytes:
    pictures = [Pillow.fromarray(picture) for picture in 40 * scene(frames)]
    return encoded(form, save_all=True, append_images=pictures, duration=100)


def test_the_record_tells_of_a_file():
    record = Video(8, frames=4, size=32).read(mp4()).record
    assert (record.spatial.format, record.codec, record.spatial.mode) == ("mov", "h264", "yuv420p")
    assert record.spatial.orientation == 1
    assert record.times_s == pytest.approx((0.2, 0.7, 1.2, 1.7))


BAD = {
    "empty": (lambda: b"", r"is empty \(0 bytes\)"),
    "garbage": (lambda: bytes(range(256)) * 40, r"is not a video file \(it begins with .*MP4, MOV, WebM.* are read"),
    "text": (lambda: b"hello " * 500, "is not a video file"),
    "a playlist": (lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n", "is not a video file"),
    "a list of files": (lambda: b"ffconcat version 1.0\nfile other.mp4\n", "is not a video file"),
    "no index": (lambda: mp4()[:1500], r"damaged or truncated video file \("),
    "webm cut short": (lambda: mp4(60, form="webm")[:900], "damaged or truncated"),
    "webm header": (lambda: mp4(form="webm")[:60], "damaged or truncated"),
    "avi header": (lambda: b"RIFF\x00\x01\x00\x00AVI LIST" + b"\x00" * 200, "damaged or truncated|no video stream"),
    "sound": (sound, r"has no video stream \(it holds audio\); give a file with moving pictures"),
    "png": (lambda: encoded("PNG"), "is a still picture.*give it to the image tokenizer, or a list of pictures"),
    "jpeg": (lambda: encoded("JPEG"), "is a still picture; give it to the image tokenizer"),
    "gif": (lambda: encoded("GIF"), r"is a still picture \(one frame\)"),
    "heic": (lambda: b"\x00\x00\x00\x18ftypheic" + b"\x00" * 99, "is a still picture"),
    "gif cut short": (lambda: animated("GIF")[:-300], r"damaged or truncated animation \(.*ends within picture 5"),
    "webp cut short": (lambda: animated("WEBP")[:-60], "damaged or truncated animation"),
    "pil": (lambda: Pillow.fromarray(scene(1)[0]), "RGB image: is a still picture"),
    "no frames": (list, "list of 0 pictures: has no frames; give at least one"),
    "no frames of an array": (lambda: scene(1)[:0], "has no frames"),
    "no pixels": (lambda: scene(2)[:, :0], "frame 0: has no pixels"),
    "axes": (lambda: scene(3)[0], r"array \(24, 32, 3\): is not \(frames, rows, columns, channels\)"),
    "values": (lambda: 2.0 * scene(3), "frame 0: has values from .*floats must be in 0..1"),
    "a bad frame": (lambda: [scene(1)[0], b"no picture"], "list of 2 pictures: frame 1: is not an image file"),
    "a missing frame": (lambda: [scene(1)[0], "gone.png"], "frame 1: does not exist"),
    "nothing": (lambda: None, "cannot be read as a clip .*give a path, an array, a list of pictures, bytes"),
    "a number": (lambda: 3, "cannot be read as a clip"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_input_is_refused_in_words(kind, capfd):
    make, message = BAD[kind]
    source = make()
    capfd.readouterr()
    with pytest.raises(InputError, match=message) as caught:
        Video(8, frames=8, size=32).read(source)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.mp4: does not exist"):
        Video(8).read(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="is a directory"):
        Video(8).read(tmp_path)


def test_a_film_cut_short_is_refused_with_how_far_it_goes(tmp_path):
    whole = mp4(200, path=tmp_path / "a.mp4", movflags="faststart")
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.mp4: damaged or truncated: it lasts 20 s, .* up to .* s only; repair it"):
        Video(8, size=32).read(tmp_path / "a.mp4")


def test_more_pixels_than_the_limit_are_refused_before_decoding():
    for source in (mp4(), animated("GIF"), scene(3)):
        with pytest.raises(InputError, match="over the limit of 100"):
            Video(8, pixel_limit=100).read(source)


def test_without_pyav_files_are_refused_by_the_extras_name_and_animations_still_read(monkeypatch):
    data = mp4()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"av is not installed.*unimodal\[video\]"):
        Video(8).read(data)
    assert Video(8).read(animated("GIF")).cost == 392


@pytest.mark.parametrize("form", ["mp4", "matroska", "webm", "avi", "mpegts", "GIF", "WEBP", "PNG"])
def test_damage_anywhere_is_read_over_or_refused_and_nothing_else(form, capfd):
    whole = mp4(12, form=form) if form.islower() else animated(form)
    random, video = np.random.default_rng(0), Video(8, frames=4, size=32)
    capfd.readouterr()
    refused = []
    for trial in range(24):
        data = bytearray(whole)
        if trial % 2:
            data = data[: random.integers(1, len(data))]
        for place in random.integers(0, len(data), 1 + trial % 5):
            data[place] = random.integers(256)
        try:
            assert video.read(bytes(data)).cost == 8
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 2
    assert not any("\n" in message for message in refused)
    assert capfd.readouterr() == ("", "")


def test_it_claims_what_moves_and_leaves_stills_and_series_to_others(tmp_path):
    files = {
        "a.mp4": mp4(2),
        "b.webm": mp4(2, form="webm"),
        "c.gif": animated("GIF"),
        "d.gif": encoded("GIF"),
        "e.webp": animated("WEBP"),
        "f.webp": encoded("WEBP"),
        "g.ts": mp4(2, form="mpegts"),
        "h.ts": b"@problemName GunPoint\n@data\n1.0,2.0:1\n" * 20,
        "i.avi": mp4(2, form="avi"),
        "j.heic": b"\x00\x00\x00\x18ftypheic" + b"\x00" * 99,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        sure = Video.claims(tmp_path / name)
        assert (sure > 0.5) == (name in {"a.mp4", "b.webm", "c.gif", "e.webp", "g.ts", "i.avi"}), (name, sure)
    assert Video.claims(tmp_path / "gone") == 0


def test_a_length_that_only_a_damaged_header_has_is_refused_before_it_is_read():
    video = Video(8, rate_hz=1000.0, frames=None, array_hz=0.01, size=32)
    with pytest.raises(InputError, match=r"needs \d+ frames at 1000 Hz \(300 s\); without frames or window_s at most"):
        video.read(scene(3))


def test_a_large_animation_is_measured_before_pillow_warns_of_it():
    header = b"GIF89a" + (60_000).to_bytes(2, "little") * 2 + b"\x00\x00\x00"
    image = b"\x2c" + b"\x00" * 4 + b"\x01\x00\x01\x00\x00" + b"\x02\x02D\x01\x00"
    with pytest.raises(InputError, match=r"60000 x 60000 .* over the limit"):
        Video(8).read(header + 2 * image + b";")
