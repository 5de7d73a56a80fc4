import pytest
import torch

from unimodal.part import Part
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.sample import Batch


def test_it_is_smaller_than_a_tiny_vision_transformer():
    model = small_image_encoder()()
    assert sum(p.numel() for p in model.parameters()) == 935_136
    assert sum(p.numel() for p in model.parameters()) < 5_717_416  # ViT-Tiny/16 with its head, as published


@pytest.mark.parametrize("size", [(32, 32), (48, 64), (33, 71)])
def test_any_size_becomes_one_token_a_square_of_four_pixels(size):
    model = small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))().eval()
    with torch.no_grad():
        batch = Batch("image", torch.randint(0, 255, (3, 3, *size), dtype=torch.uint8))
        tokens = model(batch)
        assert tokens.side.grid == (size[0] // 4, size[1] // 4)
        assert model.embed(batch).shape == (3, 32)


def test_the_recipe_round_trips_as_json():
    part = small_image_encoder()
    assert Part.from_json(part.to_json()) == part
