"""Animations: how long each picture is shown by the file's blocks alone, and what a clip of it shows."""

import io
from typing import Any

import pytest
from PIL import Image

from unimodal.reading.animation import shown_for
from unimodal.reading.clip import open_clip

FORMS = ("GIF", "WEBP", "PNG")
GREYS, SHOWN_MS = (10, 90, 170, 250), (100, 400, 50, 250)


def animation(form: str, shown_ms: tuple[int, ...] = SHOWN_MS, mode: str = "RGB") -> io.BytesIO:
    """Pictures of one grey each; of a palette or with colour in the first corner."""
    pictures = [Image.new(mode, (9, 7), grey if mode == "L" else (grey,) * 3) for grey in GREYS[: len(shown_ms)]]
    file, options = io.BytesIO(), {"lossless": True} if form == "WEBP" else {}
    pictures[0].save(file, form, save_all=True, append_images=pictures[1:], duration=list(shown_ms), **options)
    return file


def greys(source: Any, *times: float) -> tuple[list[int], tuple[float, ...]]:
    with open_clip(source, pixel_limit=10**6, array_hz=25.0) as clip:
        assert clip.size == (9, 7)
        assert clip.duration_s == pytest.approx(sum(SHOWN_MS) / 1000)
        frames, stamps, _ = clip.frames(times, (7, 9), (0, 0, 9, 7), Image.Resampling.BILINEAR)
    assert frames.float().std((1, 2, 3)).max() == 0
    return frames[:, 0, 3, 3].tolist(), stamps


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_each_pictures_time_is_found_without_decoding(form, mode):
    assert shown_for(animation(form, mode=mode)) == pytest.approx([0.1, 0.4, 0.05, 0.25])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_image", [False, True])
def test_each_picture_is_on_display_for_its_own_time(form, as_image):
    file = animation(form)
    source = Image.open(file) if as_image else file.getvalue()
    shown, stamps = greys(source, 0.0, 0.09, 0.11, 0.49, 0.52, 0.6, 0.79)
    assert shown == [10, 10, 90, 90, 170, 250, 250]
    assert stamps == pytest.approx((0.0, 0.0, 0.1, 0.1, 0.5, 0.55, 0.55))


def test_times_that_nobody_means_are_those_that_browsers_take():
    assert shown_for(animation("GIF", (0, 10, 20))) == pytest.approx([0.1, 0.1, 0.02])


def test_a_png_whose_first_picture_is_for_those_who_cannot_animate_begins_with_the_second():
    file = io.BytesIO()
    still, *moving = [Image.new("RGB", (9, 7), (grey,) * 3) for grey in (200, *GREYS)]
    still.save(file, "PNG", save_all=True, append_images=moving, default_image=True, duration=list(SHOWN_MS))
    assert shown_for(file) == pytest.approx([0.1, 0.4, 0.05, 0.25])
    for source in (file.getvalue(), Image.open(file)):
        assert greys(source, 0.05, 0.3, 0.52, 0.6)[0] == list(GREYS)


@pytest.mark.parametrize("form", [*FORMS, "JPEG"])
def test_a_still_picture_has_one_entry_at_most(form):
    file = io.BytesIO()
    Image.new("RGB", (9, 7)).save(file, form)
    assert len(shown_for(file)) == (form != "JPEG")
    assert shown_for(io.BytesIO(b"")) == shown_for(io.BytesIO(b"GIF")) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_ends_within_a_picture_says_which(form):
    whole = animation(form).getvalue()
    cut = whole[:-30] if form != "WEBP" else whole[:-5]
    with pytest.raises(ValueError, match="ends within picture"):
        shown_for(io.BytesIO(cut))


def test_no_more_than_the_bytes_asked_for_are_walked():
    assert len(shown_for(animation("GIF"), limit=1)) == 1


def test_see_through_parts_lie_on_white():
    file = io.BytesIO()
    pictures = [Image.new("RGBA", (8, 8), (200, 0, 0, alpha)) for alpha in (255, 0)]
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    with open_clip(file, pixel_limit=100, array_hz=25.0) as clip:
        frames, _, _ = clip.frames([0.05, 0.15], (8, 8), (0, 0, 8, 8), Image.Resampling.BILINEAR)
    assert frames[:, :, 4, 4].tolist() == [[200, 0, 0], [255, 255, 255]]
