"""The small multimodal encoder: the image encoder's core and weights, and a tokenizer of every modality before it."""

import json
from typing import Any

import numpy as np
import torch

from unimodal.catalog import catalog
from unimodal.part import Part
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder


def test_it_has_the_modalities_of_the_unified_tokenizer_and_volumes():
    model: Any = small_multimodal_encoder()()
    twelve = {"text", "image", "point_cloud", "audio", "video", "infrared", "hyperspectral", "xray", "time_series"}
    twelve |= {"table", "imu", "graph"}
    assert set(model.tokenizers) == twelve | {"ct"}
    assert set(model.tokenizers) <= set(catalog("tokenizers"))


def test_the_image_encoders_weights_fit_and_give_the_same_embedding():
    torch.manual_seed(1)
    image: Any = small_image_encoder()().eval()
    model: Any = small_multimodal_encoder()().eval()
    left_over = model.load_state_dict(image.state_dict(), strict=False).unexpected_keys
    assert left_over == []
    tokenizer = model.tokenizer("image")
    picture = (np.random.default_rng(0).random((40, 50, 3)) * 255).astype(np.uint8)
    batch = tokenizer.collate([tokenizer.read(picture)])
    with torch.inference_mode():
        assert torch.equal(model.embed(batch), image.embed(batch))


def test_the_core_is_most_of_it_and_every_tokenizer_is_light():
    model: Any = small_multimodal_encoder()()
    core = sum(p.numel() for p in model.transformer.parameters())
    sizes = {name: sum(p.numel() for p in t.parameters()) for name, t in model.tokenizers.items()}
    assert core == 793_344  # 4 x (4 D^2 + 8 D^2 + 13 D) + 2 D with D = 128
    assert all(size < 0.4 * core for size in sizes.values()), sizes


def test_its_part_survives_json():
    part = small_multimodal_encoder()
    assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part
