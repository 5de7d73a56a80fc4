"""Segmenter and the parts of Mask2Former in it: sizes of pictures, parameters, JSON, learning and refusals."""

from typing import Any

import pytest
import torch

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.recipes.convnext import convnext
from unimodal.recipes.swin import swin
from unimodal.sample import Batch
from unimodal.universal_segmenter import universal_segmenter

ENCODER = swin(width=12, depths=(1, 1, 1, 1), heads=(1, 2, 2, 2), window=3).replace(readout=None)
SMALL: dict[str, Any] = {"classes": 3, "queries": 5, "width": 16, "heads": 2, "depths": (1, 3), "groups": 4}
PART = universal_segmenter(ENCODER, hidden=(16, 16), **SMALL)


@pytest.mark.parametrize("rows, columns", [(64, 64), (90, 131)])
def test_pictures_of_any_size_go_through(rows, columns):
    found = PART()(Batch("image", torch.randn(2, 3, rows, columns)))
    assert [tuple(p.classes.shape) for p in found] == [(2, 5, 4)] * 4
    assert tuple(found[-1].masks.shape) == (2, 5, rows // 4, columns // 4)


def test_a_model_of_the_published_size_has_as_many_parameters_as_transformers():
    with torch.device("meta"):
        made = universal_segmenter(swin("tiny").replace(readout=None), classes=80, norm=Part(LayerNorm))()
    assert sum(p.numel() for p in made.parameters()) == 47_421_643


def test_it_comes_back_from_json():
    assert Part.from_json(PART.to_json()) == PART


def test_a_step_against_the_gradient_lowers_what_it_is_the_gradient_of():
    model, batch = PART(), Batch("image", torch.randn(2, 3, 64, 64))

    def loss() -> torch.Tensor:
        return sum((p.classes.square().mean() + (p.masks - 1).square().mean() for p in model(batch)), torch.zeros(()))

    before = loss()
    before.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * parameter.grad
    assert loss() < before


def test_the_exported_program_gives_the_same():
    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = PART()

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.model(Batch("image", pixels))[-1])

    module, pixels = Last().eval(), torch.randn(1, 3, 64, 96)
    found = torch.export.export(module, (pixels,)).module()(pixels)
    for own, expected in zip(found, module(pixels), strict=True):
        torch.testing.assert_close(own, expected)


def test_any_pyramid_may_be_the_encoder():
    encoder = convnext("atto").replace(readout=None)
    found = universal_segmenter(encoder, hidden=(16, 16), **SMALL)()(Batch("image", torch.randn(1, 3, 64, 96)))
    assert tuple(found[-1].masks.shape) == (1, 5, 16, 24)


def test_features_that_the_encoder_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"depths 0\.\.4, not of \[5\]"):
        PART.replace(depths=(2, 5))()
