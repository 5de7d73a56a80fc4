"""The stem ``tubelet`` against its equation, and its limit at one frame."""

import torch

from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem


def test_each_token_is_the_projection_of_its_box():
    stem = TubeletStem(5, patch=(2, 3, 4), channels=2).double()
    clip = torch.randn(1, 2, 5, 7, 9, dtype=torch.float64)
    cells = stem(clip)
    bias = stem.project.bias
    assert bias is not None
    assert cells.shape == (1, 5, 2, 2, 2)
    for t in range(2):
        for y in range(2):
            for x in range(2):
                box = clip[0, :, 2 * t : 2 * t + 2, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4]
                for d in range(5):
                    value = (stem.project.weight[d] * box).sum() + bias[d]
                    torch.testing.assert_close(cells[0, d, t, y, x], value)


def test_at_one_frame_it_is_the_patch_stem():
    tubelet, patch = TubeletStem(6, patch=(1, 4, 4)), PatchStem(6, patch=4)
    patch.load_state_dict({k: v.squeeze(2) if v.ndim == 5 else v for k, v in tubelet.state_dict().items()})
    picture = torch.randn(2, 3, 9, 12)
    torch.testing.assert_close(tubelet(picture[:, :, None])[:, :, 0], patch(picture))


def test_without_a_bias_a_dark_clip_gives_nothing():
    assert not TubeletStem(6, patch=(1, 4, 4), bias=False)(torch.zeros(1, 3, 2, 8, 8)).any()
