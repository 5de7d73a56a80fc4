"""ResFormer: published parameter counts, sizes of pictures, and what it is without its positions."""

import pytest
import torch

from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.recipes.resformer import resformer
from unimodal.recipes.vit import vit
from unimodal.sample import Batch

HEAD = Part(Head, pool=Part(ClassToken), width=1000)


@pytest.mark.parametrize("size, count", [("tiny", 5_689_192), ("small", 21_986_536), ("base", 86_431_720)])
def test_a_classifier_has_the_released_number_of_parameters(size: str, count: int):
    with torch.device("meta"):
        model = resformer(size, readout=HEAD)()
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("rows, columns", [(32, 32), (48, 80), (96, 64), (160, 160)])
def test_one_model_takes_pictures_of_every_multiple_of_the_patch(rows: int, columns: int):
    model = resformer(depth=2, image=64)().eval()
    before = set(model.state_dict())
    with torch.inference_mode():
        vector = model.embed(Batch("image", torch.randn(2, 3, rows, columns)))
    assert vector.shape == (2, 192)
    assert set(model.state_dict()) == before


def test_without_global_positions_it_starts_as_a_vit_without_positions():
    torch.manual_seed(0)
    ours = resformer(depth=2, image=64)().eval()
    theirs = vit("tiny", image=64)().eval()
    del theirs.transformer.blocks[2:]
    theirs.transformer.depth = 2
    given = {k: v for k, v in ours.state_dict().items() if ".attention." not in k and not k.startswith("positions.")}
    left = theirs.load_state_dict({**given, "positions.image.table": torch.zeros(16, 192)}, strict=True)
    assert not left.missing_keys
    x = Batch("image", torch.randn(2, 3, 64, 64))
    with torch.inference_mode():
        torch.nn.init.zeros_(ours.positions["image"].around.weight)
        torch.nn.init.zeros_(ours.positions["image"].around.bias)
        torch.testing.assert_close(ours.embed(x), theirs.embed(x), rtol=0, atol=1e-5)


def test_an_unknown_size_raises():
    with pytest.raises(ValueError, match="size must be one of tiny, small, base, not 'huge'"):
        resformer("huge")
