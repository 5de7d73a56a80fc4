"""Every recipe of pictures whose core is a pyramid: published counts, and what holds for all of them.

Beside the counts each recipe is built in its smallest size with one block a stage, two where they differ, on uneven
pictures.
"""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.catalog import catalog
from unimodal.model import Model
from unimodal.multiply_adds import multiply_adds
from unimodal.part import Part
from unimodal.pyramid import Pyramid
from unimodal.sample import Batch
from unimodal.tasks.classification import Classification

# Parameters with 1000 classes, and 1e9 multiply-adds of a picture of 224 px, as published; the first row of a recipe is
# the size that is looked at.
PUBLISHED: dict[str, list[tuple[dict[str, Any], int, float]]] = {
    "convnext": [({"size": "atto"}, 3_695_520, 0.55), ({"size": "tiny"}, 28_589_128, 4.46)],
    "convnext_v2": [({"size": "atto"}, 3_708_400, 0.55), ({"size": "tiny"}, 28_635_496, 4.47)],
    "cvt": [({"size": "13"}, 19_997_480, 4.53), ({"size": "21"}, 31_622_696, 7.13)],
    "fmvit": [({"size": "tiny"}, 14_898_888, 2.5)],  # ours, before its maps are folded: nothing was released
    "next_vit": [({"size": "small"}, 31_763_368, 5.8)],
    "pvt": [({"size": "tiny"}, 13_229_288, 1.9), ({"size": "small"}, 24_485_864, 3.8)],
    "pvt_v2": [({"size": "b0"}, 3_666_760, 0.57), ({"size": "b1"}, 14_009_000, 2.1), ({"size": "b2"}, 25_362_856, 4.0)],
    "rmt": [({"size": "tiny"}, 14_334_216, 2.6), ({"size": "small"}, 26_967_240, 4.8)],  # with attention's, see there
    "sret": [({"size": "t"}, 4_755_979, 1.1), ({"size": "s"}, 20_899_692, 4.2)],
    "swin": [({"size": "tiny"}, 28_288_354, 4.5), ({"size": "small"}, 49_606_258, 8.7)],
    "uniformer": [
        ({"size": "small"}, 21_545_256, 3.6),
        ({"size": "xxs"}, 10_215_280, 1.3),
        ({"size": "xs"}, 16_509_264, 1.93),  # by the released code; its README says 2.0
    ],
    "unireplknet": [
        ({"size": "a", "deployed": True}, 4_437_300, 0.6),
        ({"size": "n", "deployed": True}, 18_318_560, 2.8),
    ],
}
SIZES = (75, 107)


def pyramids() -> list[str]:
    """The names of the recipes whose default is a model around a pyramid; nothing is built."""
    found = []
    for name, recipe in catalog("recipes").usable().items():
        if all(p.default is not p.empty for p in inspect.signature(recipe).parameters.values()):
            part = recipe()
            core = part.kwargs["transformer"] if isinstance(part, Part) and part.cls is Model else None
            found += [name] if isinstance(core, Part) and core.cls is Pyramid else []
    return found


NAMES = pyramids()


def fewer_blocks(data: Any) -> Any:
    """A part's JSON with one block in each of its transformers, or the first two where they differ."""
    if isinstance(data, list):
        return [fewer_blocks(value) for value in data]
    if not isinstance(data, dict):
        return data
    data = {key: fewer_blocks(value) for key, value in data.items()}
    if data.get("part") == "transformer":
        settings = data["with"]
        blocks = settings["blocks"][:2] if isinstance(settings["blocks"], list) else [settings["blocks"]]
        blocks = blocks[:1] if blocks[0] == blocks[-1] else blocks
        depth = min(settings["depth"], max(len(blocks), settings.get("shared", 1)))
        data["with"] = {**settings, "depth": depth, "blocks": blocks}
    return data


def small(name: str) -> Part:
    settings = {key: value for key, value in PUBLISHED[name][0][0].items() if key == "size"}
    return Part.from_json(fewer_blocks(catalog("recipes")[name](**settings, classes=5).to_json()))


def built(name: str) -> Any:
    """With weights and statistics drawn at random, so that no branch is left near zero."""
    model: Any = small(name)().double().eval()
    for key, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not tensor.is_floating_point():
            continue
        if key.endswith("running_var"):
            torch.nn.init.uniform_(tensor, 0.4, 1.6)
        elif tensor.ndim == 1:
            torch.nn.init.normal_(tensor, mean=float(key.endswith(("weight", "scale"))), std=0.2)
    return model


def pixels(*sizes: int) -> Tensor:
    return torch.randn(1, 3, *(sizes or SIZES), dtype=torch.float64)


class Embedding(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.embed(Batch("image", pixels))


def test_every_pyramid_has_a_row_of_published_figures():
    assert {"convnext", "unireplknet"} <= set(NAMES) == set(PUBLISHED)


@pytest.mark.parametrize("name, row", [(name, row) for name, rows in PUBLISHED.items() for row in rows])
def test_parameters_and_multiply_adds_are_those_of_the_table(name, row):
    settings, parameters, billions = row
    with torch.device("meta"):
        model = catalog("recipes")[name](**settings, classes=1000)().eval()
        counted = multiply_adds(model.embed, Batch("image", torch.zeros(1, 3, 224, 224)))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.005 if name == "pvt" else 0)
    assert counted / 1e9 == pytest.approx(billions, rel=0.03, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_parts_survive_a_round_trip_through_json(name):
    part = catalog("recipes")[name](classes=5)
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_finite_gradient(name):
    model = built(name).train()
    loss = model.embed(Batch("image", pixels())).square().mean()
    loss.backward()
    unmoved = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert loss.isfinite()
    assert not unmoved


@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_widths_and_strides_that_are_told(name):
    model = built(name)
    core, strides = model.transformer, model.strides("image")
    with torch.inference_mode():
        features = model.features(Batch("image", pixels()), range(len(core.widths)))
    for feature, width, stride in zip(features, core.widths, strides, strict=True):
        grid = feature.side.grid
        assert feature.x.shape == (1, grid[0] * grid[1] + feature.side.prefix, width)
        assert all(n // stride <= cells <= -(-n // stride) for n, cells in zip(SIZES, grid, strict=True))
    assert model.dim == core.widths[-1]


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_program_gives_what_the_model_gives(name):
    model, x = Embedding(built(name)), pixels()
    program: Any = torch.export.export(model, (x,)).module()
    with torch.inference_mode():
        torch.testing.assert_close(program(x), model(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_mixed_sizes_in_one_batch_give_what_each_gives_alone(name):
    model, pictures = built(name), [pixels(*sizes)[0] for sizes in (SIZES, (64, 64), (96, 50))]
    with torch.inference_mode():
        together = model.embed(Batch("image", tuple(pictures)))
        alone = torch.cat([model.embed(Batch("image", x[None])) for x in pictures])
    assert alone.isfinite().all()
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3 * float(alone.abs().max())
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [*NAMES, "vit_comer"])
def test_a_classifier_on_it_is_trained_with_it(name):
    part: Any = catalog("recipes")[name]()
    encoder: Any = part if name == "vit_comer" else Part.from_json(fewer_blocks(part.to_json()))
    module = Classification.build(encoder(), classes=("a", "b"), whole=True).train()
    logits = module(Batch("image", torch.randn(3, 3, *SIZES)))
    logits.logsumexp(1).sum().backward()
    assert logits.shape == (3, 2)
    stem = next(p for key, p in module.encoder.named_parameters() if p.ndim > 1)
    assert stem.grad is not None
    assert bool(stem.grad.isfinite().all() and stem.grad.any())
