"""SLAB-DeiT sizes against the released code's counts, and the whole model without its norms."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.fold_norms import fold_norms
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.part import Part
from unimodal.recipes.slab_deit import slab_deit
from unimodal.sample import Batch

NORMS = (BatchNorm, LayerNorm, ProgressiveBatchNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


def trained(depth: int, **settings: Any) -> Any:
    """A model whose norms have seen other statistics than those they start with, and are not the identity."""
    part = slab_deit("tiny", **settings)
    model: Any = part.replace(transformer=part.kwargs["transformer"].replace(depth=depth))()
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if "running_var" in name:
                tensor.uniform_(0.5, 2.0)
            elif "norm" in name and tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn_like(tensor))
            elif name.endswith("position.table"):
                tensor.normal_(std=0.1)
    return model.eval()


@pytest.mark.parametrize("size, dim, count", [("tiny", 192, 6_198_401), ("small", 384, 22_992_641)])
def test_sizes_have_the_released_parameter_counts(size, dim, count):
    with torch.device("meta"):
        model = slab_deit(size, classes=1000)()
    unread_class_token = dim
    assert sum(p.numel() for p in model.parameters()) + unread_class_token == count


def test_the_model_with_its_norms_folded_is_the_same_function_without_norms():
    model, batch = trained(12, image=64, classes=7), Batch("image", torch.randn(2, 3, 64, 64))
    new: Any = fold_norms(model)
    assert any(isinstance(module, NORMS) for module in model.modules())
    assert not any(isinstance(module, NORMS) for module in new.modules())
    with torch.inference_mode():
        want = model.embed(batch)
        torch.testing.assert_close(new.embed(batch), want, rtol=0, atol=1e-5 * want.abs().max().item())
        mixed = Batch("image", (torch.randn(3, 64, 64), torch.randn(3, 32, 80)))
        want = model.embed(mixed)
        torch.testing.assert_close(new.embed(mixed), want, rtol=0, atol=1e-5 * want.abs().max().item())


def test_it_is_exported_before_and_after_folding():
    class OfPixels(nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels):
            return self.model.embed(Batch("image", pixels))

    model, pixels = trained(2, image=32, classes=3), torch.randn(2, 3, 32, 32)
    for of_pixels in (OfPixels(model), OfPixels(fold_norms(model))):
        program = torch.export.export(of_pixels, (pixels,)).module()
        torch.testing.assert_close(program(pixels), of_pixels(pixels))


def test_training_moves_every_parameter_and_counts_the_steps_of_the_slide():
    model: Any = slab_deit("tiny", image=32, classes=3, steps=4)().train()
    model.embed(Batch("image", torch.randn(4, 3, 32, 32))).square().sum().backward()
    model.embed(Batch("image", torch.randn(4, 3, 32, 32))).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert {int(m.step) for m in model.modules() if isinstance(m, ProgressiveBatchNorm)} == {2}


def test_it_is_a_part_that_round_trips():
    for part in (slab_deit("tiny", classes=3, drop_path=0.1), slab_deit("small", image=64)):
        assert Part.from_json(part.to_json()) == part


def test_an_unknown_size_and_an_image_that_patches_do_not_fill_are_refused():
    with pytest.raises(ValueError, match="size must be one of tiny, small, not 'base'"):
        slab_deit("base")
    with pytest.raises(ValueError, match="multiple of patch 16 px, not 230"):
        slab_deit(image=230)
