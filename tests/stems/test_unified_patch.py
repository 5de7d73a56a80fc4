"""The stem ``unified_patch`` against its equations and limits, and within the tokenizer ``ct``."""

import numpy as np
import pytest
import torch

from unimodal.cells import projected_from
from unimodal.part import Part
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem
from unimodal.stems.unified_patch import UnifiedPatchStem
from unimodal.tokenizers.ct import CT


def test_a_picture_goes_through_squares_and_a_volume_through_boxes():
    stem = UnifiedPatchStem(3, patch=(2, 3, 4), channels=2).double()
    picture, volume = torch.randn(1, 2, 7, 9).double(), torch.randn(1, 2, 5, 7, 9).double()
    flat, deep = stem(picture), stem(volume)
    w_2, w_3 = stem.project_picture.weight, stem.project_volume.weight
    b_2, b_3 = stem.get_parameter("project_picture.bias"), stem.get_parameter("project_volume.bias")
    assert flat.shape == (1, 3, *stem.cells((7, 9))) == (1, 3, 2, 2)
    assert deep.shape == (1, 3, *stem.cells((5, 7, 9))) == (1, 3, 2, 2, 2)
    for d, y, x in np.ndindex(3, 2, 2):
        square = picture[0, :, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4]
        torch.testing.assert_close(flat[0, d, y, x], (w_2[d] * square).sum() + b_2[d])
        for z in range(2):
            box = volume[0, :, 2 * z : 2 * z + 2, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4]
            torch.testing.assert_close(deep[0, d, z, y, x], (w_3[d] * box).sum() + b_3[d])


def test_a_kernel_repeated_over_the_depth_gives_the_token_of_the_mean_slice():
    stem = UnifiedPatchStem(5, patch=(16, 16, 16), channels=1).double()
    with torch.no_grad():
        stem.project_volume.weight.copy_(stem.project_picture.weight[:, :, None].expand(-1, -1, 16, -1, -1) / 16)
        stem.get_parameter("project_volume.bias").copy_(stem.get_parameter("project_picture.bias"))
    volume = torch.randn(2, 1, 16, 32, 48, dtype=torch.float64)
    torch.testing.assert_close(stem(volume)[:, :, 0], stem(volume.mean(2)))


def test_each_kind_is_the_stem_of_its_own():
    stem = UnifiedPatchStem(6, patch=(2, 4, 4), channels=2)
    patch, tubelet = PatchStem(6, patch=4, channels=2), TubeletStem(6, patch=(2, 4, 4), channels=2)
    patch.project, tubelet.project = stem.project_picture, stem.project_volume
    picture, volume = torch.randn(2, 2, 9, 12), torch.randn(2, 2, 4, 9, 12)
    assert torch.equal(stem(picture), patch(picture))
    assert torch.equal(stem(volume), tubelet(volume))


def test_patches_come_back_from_the_projection_exactly_in_both_kinds():
    """With the unit matrix as projection the tokens are the patches themselves, and the inverse is exact."""
    for kind, count, values in (
        ("project_picture", 16, torch.randn(1, 1, 8, 12)),
        ("project_volume", 32, torch.randn(1, 1, 4, 8, 12)),
    ):
        stem = UnifiedPatchStem(count, patch=(2, 4, 4), channels=1, bias=False)
        kernel = getattr(stem, kind).weight
        with torch.no_grad():
            kernel.copy_(torch.eye(count).view_as(kernel))
        tokens = stem(values).flatten(2).mT[0]
        assert torch.equal(projected_from(tokens, kernel, None).float(), tokens)
        cells = stem(values)
        if values.ndim == 4:
            back = cells.view(1, 4, 4, 2, 3).permute(0, 3, 1, 4, 2).reshape(1, 1, 8, 12)
        else:
            back = cells.view(1, 2, 4, 4, 2, 2, 3).permute(0, 4, 1, 5, 2, 6, 3).reshape(1, 1, 4, 8, 12)
        assert torch.equal(back, values)


@pytest.mark.parametrize("shape, other", [((1, 3, 16, 16), "project_volume"), ((1, 3, 8, 16, 16), "project_picture")])
def test_a_batch_of_one_kind_gives_the_other_projection_no_gradient(shape, other):
    stem = UnifiedPatchStem(4)
    stem(torch.randn(shape)).square().sum().backward()
    for name, parameter in stem.named_parameters():
        assert (parameter.grad is None) is name.startswith(other)


def test_it_equals_the_patch_embedding_of_monai():
    embedding = pytest.importorskip("monai.networks.blocks.patchembedding")
    peer = embedding.PatchEmbeddingBlock(1, (16, 16, 32), (8, 16, 16), 12, 3, "conv", "none", spatial_dims=3)
    stem = UnifiedPatchStem(12, channels=1)
    stem.project_volume.load_state_dict(peer.patch_embeddings.state_dict())
    volume = torch.randn(2, 1, 16, 16, 32)
    torch.testing.assert_close(stem(volume).flatten(2).mT, peer(volume), rtol=0, atol=1e-6)


def test_what_is_neither_a_picture_nor_a_volume_is_refused():
    with pytest.raises(ValueError, match=r"values must be \(B, C, Y, X\) or \(B, C, Z, Y, X\), not \(3, 16, 16\)"):
        UnifiedPatchStem(4)(torch.randn(3, 16, 16))


def test_one_tokenizer_reads_slices_as_pictures_and_scans_as_volumes_also_in_one_batch():
    ct = CT(6, stem=Part(UnifiedPatchStem, patch=(2, 4, 4), channels=1), size=(8, 16, 16))
    draw = np.random.default_rng(0)
    slice_, scan = (draw.integers(-1000, 900, shape).astype(np.int16) for shape in ((1, 9, 16), (3, 8, 8)))
    samples = [ct.read((values, (1, 1, 1))) for values in (slice_, scan)]
    assert [tuple(s.data.shape) for s in samples] == [(1, 12, 16), (1, 4, 8, 8)]
    assert [s.record.grid for s in samples] == [(1, 3, 4), (2, 2, 2)]
    tokens = ct(ct.collate(samples))
    assert tokens.side.grids == ((1, 3, 4), (2, 2, 2))
    flat, deep = tokens.split()
    torch.testing.assert_close(flat, ct.stem.project_picture(samples[0].data[None]).flatten(2).mT[0])
    torch.testing.assert_close(deep, ct.stem.project_volume(samples[1].data[None]).flatten(2).mT[0])
    values = samples[0].record.units(samples[0].data)
    np.testing.assert_allclose(samples[0].record.restore(values), slice_, atol=1e-3)
