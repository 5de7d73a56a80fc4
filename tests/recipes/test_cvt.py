"""CvT: published counts and costs, no positions, keys, the shift it does not see, the fold, stochastic depth."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.recipes.cvt import cvt
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch

SMALL = ((1, 8, 1), (1, 12, 3), (2, 24, 6))
# Parameters with a classifier of 1000, 1e9 multiply-adds at 224 px.
PUBLISHED = [("13", 19_997_480, 4.5), ("21", 31_622_696, 7.1), ("w24", 277_196_392, None)]


def small(**options: Any) -> Any:
    """With statistics and scales of its own in every norm."""
    model: Any = cvt(stages=SMALL, **options)()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name.endswith("running_var"):
            torch.nn.init.uniform_(tensor, 0.4, 1.6)
        elif tensor.ndim == 1:
            torch.nn.init.normal_(tensor, mean=float(name.endswith("weight")), std=0.2)
        else:
            torch.nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5)
    return model.eval()


def multiply_adds(**options: Any) -> float:
    with torch.device("meta"):
        model: Any = cvt(**options)().eval()
        pixels = torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.embed(Batch("image", pixels))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("size, parameters, billions", PUBLISHED)
def test_sizes_have_the_published_parameters_and_multiply_adds(size, parameters, billions):
    with torch.device("meta"):
        model: Any = cvt(size, classes=1000)()
    assert sum(p.numel() for p in model.parameters()) == parameters
    if billions is not None:
        assert multiply_adds(size=size, classes=1000) / 1e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize("sizes", [(224, 224), (97, 131), (32, 64), (3, 5)])
def test_pictures_of_any_size_have_features_of_three_strides_and_the_last_a_class_token(sizes):
    model = small(classes=5)
    assert model.transformer.strides == (1, 1, 2, 4)
    batch = Batch("image", torch.randn(2, 3, *sizes))
    with torch.inference_mode():
        features = model.features(batch, [1, 2, 3])
        logits = model.embed(batch)
        read = model.readout.mapped(features[2].x[:, 0])
    grid = tuple((n - 3) // 4 + 1 for n in sizes)
    for i, tokens in enumerate(features):
        assert (tokens.side.grid, tokens.side.prefix) == (grid, int(i == 2))
        assert tokens.lattice().x.shape == (2, grid[0] * grid[1], SMALL[i][1])
        grid = tuple((n + 1) // 2 for n in grid)
    assert torch.equal(logits, read)


def test_no_parameter_belongs_to_a_place():
    assert {n: p.shape for n, p in small().named_parameters()} == {
        n: p.shape for n, p in small(image=512).named_parameters()
    }


def test_the_scale_is_that_of_the_width_or_of_a_head():
    for scaled_by, scales in (("width", [8**-0.5, 12**-0.5, 24**-0.5]), ("head", [None] * 3)):
        stages = small(scaled_by=scaled_by).transformer.stages
        blocks = [getattr(stage, "core", stage).blocks[0] for stage in stages]
        assert [block.mixer.attention.scale for block in blocks] == scales


@pytest.mark.parametrize("shift, seen", [(32, False), (16, True)])
def test_on_a_torus_only_shifts_by_the_keys_stride_leave_the_class_token(monkeypatch, shift, seen):
    def around(self: Depthwise, map_SD: torch.Tensor, *, bias: torch.Tensor | None) -> torch.Tensor:
        return F.conv2d(F.pad(map_SD, (1, 1, 1, 1), mode="circular"), self.weight, bias, groups=len(self.weight))

    monkeypatch.setattr(Depthwise, "_around", around)
    model = small(classes=5).double()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.padding_mode = "circular"
    pixels = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        gap = model.embed(Batch("image", pixels.roll((shift, -shift), (2, 3)))) - model.embed(Batch("image", pixels))
    assert (float(gap.abs().max()) > 1e-3) == seen
    assert seen or float(gap.abs().max()) < 1e-10


@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_the_deployed_form_has_no_batch_norms_and_the_same_outputs(dtype, most):
    model = small(classes=5).to(dtype)
    deployed: Any = reparameterize(model)
    assert not any(isinstance(m, BatchNorm) for m in deployed.modules())
    batch = Batch("image", torch.randn(2, 3, 53, 75, dtype=dtype))
    with torch.inference_mode():
        torch.testing.assert_close(deployed.embed(batch), model.embed(batch), rtol=0, atol=most)


def test_mixed_sizes_in_one_batch_give_what_each_gives_alone():
    model = small(classes=5).double()
    pictures = tuple(torch.randn(3, *sizes).double() for sizes in ((64, 64), (75, 53), (64, 64)))
    with torch.inference_mode():
        mixed = model.embed(Batch("image", pictures))
        alone = torch.cat([model.embed(Batch("image", picture[None])) for picture in pictures])
    torch.testing.assert_close(mixed, alone)


def test_stochastic_depth_grows_over_the_last_stage():
    with torch.device("meta"):
        stages = cvt(drop_path=0.9)().transformer.stages
    assert {block.drop_path for stage in stages[:2] for block in stage.blocks} == {0.0}
    assert [block.drop_path for block in stages[2].core.blocks] == pytest.approx([0.1 * i for i in range(10)])


def test_the_part_goes_through_json():
    part = cvt("13", classes=10, drop_path=0.1, scaled_by="head")
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    "options, said",
    [
        ({"size": "24"}, "size must be one of 13, 21, w24, not '24'"),
        ({"image": 90}, "image must be a multiple of 4 px, not 90"),
        ({"scaled_by": "depth"}, "scaled_by must be 'width' or 'head', not 'depth'"),
        ({"classes": 5, "readout": Part(Depthwise)}, "classes=5 belong to the classifier"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        cvt(**options)
