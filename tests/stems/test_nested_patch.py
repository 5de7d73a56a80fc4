"""The nested patch stem: its equations in loops, and that no pixel leaves its patch."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.stems.nested_patch import NestedPatchStem


def stem(**settings):
    torch.manual_seed(0)
    return NestedPatchStem(**{"dim": 5 + 4 * 3, "width": 5, "patch": 8, "channels": 2, **settings}).double().eval()


def test_it_equals_the_equations_patch_by_patch():
    module, pixels = stem(), torch.randn(2, 2, 16, 24, dtype=torch.float64)
    cells = module(pixels)
    assert cells.shape == (2, 17, 2, 3)
    kernel, bias = module.to_words.weight, module.to_words.bias
    assert bias is not None
    for b in range(2):
        for row in range(2):
            for column in range(3):
                patch = pixels[b, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                framed, words = F.pad(patch, (3, 3, 3, 3)), []
                for y in range(2):
                    for x in range(2):
                        window = framed[:, 4 * y : 4 * y + 7, 4 * x : 4 * x + 7]
                        word = torch.stack([(window * kernel[c]).sum() + bias[c] for c in range(3)])
                        words.append(word + module.position.table[2 * y + x])
                together = torch.cat(words)
                normed = F.layer_norm(together, (12,), module.norm_words.weight, module.norm_words.bias, 1e-5)
                told = module.to_sentence(normed)
                sentence = F.layer_norm(told, (5,), module.norm_sentence.weight, module.norm_sentence.bias, 1e-5)
                expected = torch.cat([sentence, together])
                torch.testing.assert_close(cells[b, :, row, column], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("place", [(8, 8), (15, 8), (8, 15), (11, 12)])
def test_a_pixel_changes_its_own_patch_only_even_at_the_border(place):
    module, pixels = stem(), torch.randn(1, 2, 24, 24, dtype=torch.float64)
    changed = pixels.clone()
    changed[..., place[0], place[1]] += 1.0
    different = (module(pixels) != module(changed)).any(1)[0]
    assert different.nonzero().tolist() == [[1, 1]]


def test_all_patches_share_the_positions_of_words():
    module, patch = stem(), torch.randn(1, 2, 8, 8, dtype=torch.float64)
    cells = module(patch.repeat(1, 1, 2, 3)).flatten(2)
    torch.testing.assert_close(cells, cells[..., :1].expand_as(cells), rtol=0, atol=1e-12)


def test_pixels_behind_the_last_whole_patch_have_no_influence():
    module, pixels = stem(), torch.randn(1, 2, 17, 23, dtype=torch.float64)
    assert torch.equal(module(pixels), module(pixels[..., :16, :16]))


def test_half_of_the_token_is_words_where_nothing_is_said():
    module = NestedPatchStem(768)
    assert (module.words, module.to_words.out_channels, module.to_sentence.out_features) == (16, 24, 384)


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"stride": 3}, "stride must divide the patch of 8 px, not 3"),
        ({"width": 6}, "dim must be width"),
        ({"width": 17}, "dim must be width"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, cause):
    with pytest.raises(ValueError, match=cause):
        stem(**settings)
