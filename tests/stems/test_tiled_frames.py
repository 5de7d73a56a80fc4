"""Tiled frames: where each pixel of a clip lies on the picture, that the layout is exact both ways, the stem behind."""

from typing import Any

import pytest
import torch

from unimodal.catalog import catalog
from unimodal.part import Part
from unimodal.stems.patch import PatchStem
from unimodal.stems.tiled_frames import TiledFramesStem


@pytest.mark.parametrize("frames, rows, columns", [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3), (16, 4, 4), (17, 4, 5)])
def test_every_pixel_of_frame_t_lies_in_tile_t(frames, rows, columns):
    stem, clip = TiledFramesStem(4), torch.randn(2, 3, frames, 8, 12)
    picture = stem.picture(clip)
    assert picture.shape == (2, 3, 8 * rows, 12 * columns)
    for t in range(rows * columns):
        r, c = divmod(t, columns)
        tile = picture[..., 8 * r : 8 * r + 8, 12 * c : 12 * c + 12]
        assert torch.equal(tile, clip[:, :, t]) if t < frames else not tile.any()


@pytest.mark.parametrize("sizes", [(4, 8, 12), (5, 8, 8), (3, 7, 9), (16, 16, 16), (1, 3, 2)])
def test_the_frames_come_back_exactly(sizes):
    stem, clip = TiledFramesStem(4), torch.randn(1, 3, *sizes)
    back = stem.frames(stem.picture(clip), sizes[0])
    assert torch.equal(back[..., : sizes[1], : sizes[2]], clip)
    assert not back[..., sizes[1] :, :].any()
    assert not back[..., sizes[2] :].any()


@pytest.mark.parametrize("sizes", [(4, 8, 12), (5, 7, 9), (16, 16, 20)])
def test_it_is_the_pictures_stem_on_that_picture(sizes):
    stem, clip = TiledFramesStem(6), torch.randn(2, 3, *sizes)
    made = stem(clip)
    assert torch.equal(made, stem.stem(stem.picture(clip)))
    assert made.shape == (2, 6, *stem.cells(sizes))
    assert stem.frames(made, sizes[0]).shape == (2, 6, sizes[0], -(-sizes[1] // 4), -(-sizes[2] // 4))


def test_a_stem_of_patches_gives_every_frame_its_own_cells():
    stem, clip = TiledFramesStem(5, stem=Part(PatchStem, patch=4)), torch.randn(1, 3, 5, 8, 12)
    cells = stem.frames(stem(clip), 5)
    for t in range(5):
        torch.testing.assert_close(cells[:, :, t], stem.stem(clip[:, :, t]))


def test_a_clip_of_sixteen_frames_is_read_as_one_picture():
    part = Part(catalog("tokenizers")["video"], stem=Part(TiledFramesStem), frames=16, size=32)
    tokenizer: Any = part(8)
    sample = tokenizer.read(tokenizer.examples()[0])
    tokens = tokenizer(tokenizer.collate([sample, sample]))
    assert tokens.side.grid == (32, 32)
    assert tokens.x.shape == (2, 1024, 8)
    assert sample.cost == 1024


def test_a_map_that_frames_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="5 frames in 2 x 3 do not divide a map of 8 x 8"):
        TiledFramesStem(4).frames(torch.randn(1, 4, 8, 8), 5)
