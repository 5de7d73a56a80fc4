"""UniFormer's inputs: pictures and clips as they are read, of several sizes at once, and the form for use."""

from typing import Any

import numpy as np
import pytest
import torch

from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.recipes.uniformer import uniformer
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch

TINY: dict[str, Any] = {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "head_width": 8, "image": 32, "classes": 3}
KINDS: list[dict[str, Any]] = [
    {},
    {"size": "small_plus"},
    {"size": "xxs"},
    {"modality": "video"},
    {"modality": "video", "split": True},
]


def trained(**options: Any) -> Any:
    """A model in use, whose batch norms have seen something."""
    model: Any = uniformer(**TINY, **options)().double()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name.endswith(("running_var", "weight")) and tensor.ndim == 1:
            torch.nn.init.uniform_(tensor, 0.4, 1.6)
        elif tensor.ndim == 1:
            torch.nn.init.normal_(tensor, std=0.2)
        else:
            torch.nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5)
    return model.eval()


@pytest.mark.parametrize("options", KINDS)
def test_inputs_of_several_sizes_get_what_each_gets_alone(options):
    model, modality = trained(**options), options.get("modality", "image")
    frames = ((4,), (6,)) if modality == "video" else ((), ())
    data = [torch.randn(3, *t, *s, dtype=torch.float64) for t, s in zip(frames, ((40, 32), (36, 67)), strict=True)]
    with torch.inference_mode():
        together = model.embed(Batch(modality, tuple(data)))
        alone = torch.cat([model.embed(Batch(modality, one[None])) for one in data])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", KINDS)
def test_it_has_the_same_outputs_for_use_with_its_batch_norms_in_their_neighbours(options):
    model, modality = trained(**options), options.get("modality", "image")
    deployed: Any = reparameterize(model)
    batch = Batch(modality, torch.randn(2, 3, *((4,) if modality == "video" else ()), 32, 48, dtype=torch.float64))
    with torch.inference_mode():
        torch.testing.assert_close(deployed.embed(batch), model.embed(batch), rtol=0, atol=1e-11)
    for inner in (deployed.transformer, deployed.tokenizers):
        assert not any(isinstance(part, BatchNorm) for part in inner.modules())


def test_clips_of_any_length_and_shape_are_read_into_half_as_many_moments():
    part = uniformer(modality="video", frames=6, **TINY)
    assert Part.from_json(part.to_json()) == part
    model: Any = part().eval()
    tokenizer = model.tokenizer("video")
    clips = [np.zeros((frames, 48, 64, 3), np.uint8) for frames in (3, 20)]
    samples = [tokenizer.read(clip) for clip in clips]
    assert [sample.record.grid for sample in samples] == [(3, 8, 8)] * 2
    with torch.inference_mode():
        (first,) = model.features(tokenizer.collate(samples), [1])
        assert model.embed(tokenizer.collate(samples)).shape == (2, 3)
    assert first.side.grid == samples[0].record.grid
    assert model.transformer.strides[1:] == (1, (1, 2, 2), (1, 4, 4), (1, 8, 8))


def test_every_part_of_every_kind_learns():
    for options in KINDS:
        model: Any = uniformer(**TINY, **options)().train()
        modality = options.get("modality", "image")
        data = torch.randn(2, 3, *((4,) if modality == "video" else ()), 64, 64)
        model.embed(Batch(modality, data)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
