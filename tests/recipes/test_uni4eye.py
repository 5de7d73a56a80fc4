"""Uni4Eye: parameters counted by hand, the lattices of its inputs, and its pretraining on both kinds of them."""

import numpy as np
import pytest
import torch

from unimodal.masked_decoder import MaskedDecoder
from unimodal.objectives.masked_modelling import MaskedModelling
from unimodal.part import Part
from unimodal.recipes.pre_norm import pre_norm
from unimodal.recipes.uni4eye import uni4eye
from unimodal.sample import Batch


@pytest.mark.parametrize(
    "size, dim, depth, stated, decoders",
    [("base", 768, 12, 88_793_856, 56_219_136), ("large", 1024, 24, 307_295_232, 56_481_280)],
)
def test_it_has_the_stated_number_of_parameters(size, dim, depth, stated, decoders):
    with torch.device("meta"):
        model, task = uni4eye(size)(), MaskedModelling(dim)
    block = 12 * dim**2 + 13 * dim
    picture, volume = (3 * 16**2 + 1) * dim, (16**3 + 1) * dim
    assert sum(p.numel() for p in model.parameters()) == stated == depth * block + picture + volume + dim + 2 * dim
    own = 8 * (12 * 512**2 + 13 * 512) + 2 * 512 + (dim + 1) * 512 + 512 + 513 * (768 + 4096)
    assert sum(p.numel() for p in task.parameters()) == decoders == 2 * own


def test_it_is_a_part_that_goes_through_json():
    assert Part.from_json(uni4eye().to_json()) == uni4eye()


def test_pictures_have_14_x_14_tokens_and_volumes_4_x_7_x_4():
    model = uni4eye().replace(transformer=pre_norm(depth=1, heads=12, hidden=768))()
    image, ct = model.tokenizer("image"), model.tokenizer("ct")
    picture = image.read(np.zeros((300, 400, 3), np.uint8))
    scan = ct.read((np.zeros((80, 130, 70), np.int16), (1.0, 1.0, 1.0)))
    assert model.tokenize(image.collate([picture])).side.grid == (14, 14)
    tokens = model.tokenize(ct.collate([scan]))
    assert tokens.side.grid == (4, 7, 4)
    assert tokens.x.shape == (1, 1 + 112, 768)


def test_both_kinds_are_pretrained_by_the_same_objective():
    model = uni4eye().replace(transformer=pre_norm(depth=1, heads=12, hidden=768))()
    task = MaskedModelling(768, decoder=Part(MaskedDecoder, core=pre_norm(depth=1, heads=16, hidden=512)))
    for batch in (Batch("image", torch.randn(1, 3, 64, 64)), Batch("ct", torch.randn(1, 1, 32, 32, 64))):
        model.zero_grad(set_to_none=True)
        task(model, batch).backward()
        trained = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and "stem" in name}
        assert trained == {batch.modality}


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="size must be one of base, large, not 'huge'"):
        uni4eye("huge")
