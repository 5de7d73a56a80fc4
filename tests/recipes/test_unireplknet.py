"""UniRepLKNet: published counts in both forms, the released network written out, the fold, reach, every modality."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.dilated_reparam import DilatedReparam
from unimodal.multiply_adds import multiply_adds
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.recipes.unireplknet import unireplknet
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch

# Parameters with a classifier of 1000 while training and deployed; multiply-adds at 224 px in 1e9 (the code's README).
PUBLISHED = [
    ("a", 4_649_060, 4_437_300, 0.6),
    ("f", 6_489_328, 6_235_216, 0.9),
    ("p", 11_080_520, 10_741_704, 1.6),
    ("n", 18_818_880, 18_318_560, 2.8),
    ("t", 31_693_420, 31_037_980, 4.9),
    ("s", 56_456_704, 55_645_984, 9.1),
]


def on_meta(size: str, **options: Any) -> Any:
    with torch.device("meta"):
        return unireplknet(size, classes=1000, **options)().eval()


def randomised(model: Any) -> Any:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            drawn = torch.empty(tensor.shape, dtype=tensor.dtype)  # the same numbers wherever they lie in memory
            tensor.data.copy_(torch.nn.init.normal_(drawn, std=tensor[0].numel() ** -0.5))
        elif name.endswith(("running_var", "scale")):
            torch.nn.init.uniform_(tensor, 0.4, 1.6)
        else:
            torch.nn.init.normal_(tensor, mean=float("norms" in name and name.endswith("weight")), std=0.2)
    return model.eval()


def counted(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("size, training, deployed, _", PUBLISHED)
def test_sizes_have_the_published_parameter_counts_in_both_forms(size, training, deployed, _):
    assert (counted(on_meta(size)), counted(on_meta(size, deployed=True))) == (training, deployed)


@pytest.mark.parametrize("size, millions", [("b", 98), ("l", 218), ("xl", 386)])
def test_the_largest_sizes_have_the_published_millions_deployed(size, millions):
    assert counted(on_meta(size, deployed=True)) // 10**6 == millions


@pytest.mark.parametrize("size, billions", [(row[0], row[3]) for row in PUBLISHED[::4] + PUBLISHED[-1:]])
def test_a_picture_of_224_px_costs_the_published_multiply_adds(size, billions):
    model = on_meta(size, deployed=True)
    counted = multiply_adds(model.embed, Batch("image", torch.zeros(1, 3, 224, 224, device="meta")))
    assert counted / 1e9 == pytest.approx(billions, abs=0.06)


def written_out(
    state: dict[str, Tensor], x: Tensor, depths: tuple[int, ...], kernels: tuple[tuple[int, ...], ...]
) -> Tensor:
    """The released network's equations on maps, from the weights alone."""

    def taken(name: str) -> Tensor:
        return state[name]

    def layer(h: Tensor, name: str) -> Tensor:
        return F.layer_norm(
            h.movedim(1, -1), h.shape[1:2], taken(f"{name}.weight"), taken(f"{name}.bias"), 1e-6
        ).movedim(-1, 1)

    def batch(h: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            taken(f"{name}.{n}")[:, None, None] for n in ("running_mean", "running_var", "weight", "bias")
        )
        return (h - mean) / (var + 1e-5).sqrt() * weight + bias

    def strided(h: Tensor, name: str) -> Tensor:
        return F.conv2d(h, taken(f"{name}.weight"), taken(f"{name}.bias"), stride=2, padding=1)

    def linear(h: Tensor, name: str) -> Tensor:
        return F.conv2d(h, taken(f"{name}.weight")[..., None, None], state.get(f"{name}.bias"))

    stem = "tokenizers.image.stem"
    x = layer(strided(x, f"{stem}.convolutions.0"), f"{stem}.norms.0")
    x = layer(strided(F.gelu(x), f"{stem}.convolutions.1"), f"{stem}.norms.1")
    for i, depth in enumerate(depths):
        if i:
            between = f"transformer.between.{i - 1}"
            x = layer(strided(x, f"{between}.convolution"), f"{between}.behind")
        for j in range(depth):
            block = f"transformer.stages.{i}.blocks.{j}"
            mixer, se, ffn = (f"{block}.branch.{k}" for k in (0, 2, 3))
            if kernels[i][j] == 3:
                h = F.conv2d(x, taken(f"{mixer}.weight"), padding=1, groups=x.shape[1])
            else:
                h = torch.zeros_like(x)
                for n, (k, r) in enumerate(((13, 1), (5, 1), (7, 2), (3, 3), (3, 4), (3, 5))):
                    weight, padding = taken(f"{mixer}.convolutions.{n}.weight"), r * (k - 1) // 2
                    own = F.conv2d(x, weight, padding=padding, dilation=r, groups=x.shape[1])
                    h = h + batch(own, f"{mixer}.norms.{n}")
            h = batch(h, f"{block}.branch.1")
            gate = linear(linear(h.mean((2, 3), keepdim=True), f"{se}.to_hidden").relu(), f"{se}.to_gate")
            h = F.gelu(linear(h * gate.sigmoid(), f"{ffn}.to_hidden"))
            length = h.square().sum((2, 3), keepdim=True).sqrt()
            share = length / (length.mean(1, keepdim=True) + 1e-6)
            weight, bias = (taken(f"{ffn}.norm.{n}")[:, None, None] for n in ("weight", "bias"))
            h = batch(linear((weight * share + 1) * h + bias, f"{ffn}.to_out"), f"{block}.branch.4")
            x = x + taken(f"{block}.scale")[:, None, None] * h
    z = F.layer_norm(x.mean((2, 3)), x.shape[1:2], taken("readout.norm.weight"), taken("readout.norm.bias"), 1e-6)
    return z @ taken("readout.project.weight").mT + taken("readout.project.bias")


@pytest.mark.parametrize("sizes", [(64, 64), (53, 75)])
def test_a_is_the_released_networks_equations(sizes):
    model: Any = randomised(unireplknet("a", classes=10)()).double()
    kernels = ((3,) * 2, (13,) * 2, (13,) * 6, (13,) * 2)
    pixels = torch.randn(1, 3, *sizes, dtype=torch.float64)
    with torch.inference_mode():
        expected = written_out(model.state_dict(), pixels, (2, 2, 6, 2), kernels)
        torch.testing.assert_close(model.embed(Batch("image", pixels)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size, third", [("a", (13,) * 6), ("t", (13, 3) * 9), ("s", (13, 3, 3) * 9)])
def test_kernels_are_those_of_the_released_code(size, third):
    stages = on_meta(size).transformer.stages
    made = [tuple(block.branch[0].kernel for block in stage.blocks) for stage in stages]
    count = len(stages[1].blocks)
    assert made == [(3,) * count, (13,) * count, third, (13,) * count]


@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_deployed_form_has_the_same_outputs_and_fits_the_deployed_recipe(dtype, most):
    model: Any = randomised(unireplknet("a", classes=10)()).to(dtype)
    deployed: Any = reparameterize(model)
    other = unireplknet("a", classes=10, deployed=True)().to(dtype).eval()
    other.load_state_dict(deployed.state_dict(), strict=True)
    batch = Batch("image", torch.randn(2, 3, 64, 80, dtype=dtype))
    with torch.inference_mode():
        expected = model.embed(batch)
        assert 0.5 < float(expected.abs().max()) < 10
        torch.testing.assert_close(deployed.embed(batch), expected, rtol=0, atol=most)
        torch.testing.assert_close(other.embed(batch), expected, rtol=0, atol=most)
    assert not any(isinstance(m, BatchNorm | DilatedReparam) for m in deployed.modules())


def with_small_kernels(data: Any) -> Any:
    """A part's JSON with plain 3 x 3 convolutions in place of the large ones."""
    if isinstance(data, dict):
        if data.get("part") == "mixers.dilated_reparam":
            return Part(Depthwise, kernel=3, bias=False).to_json()
        return {key: with_small_kernels(value) for key, value in data.items()}
    return [with_small_kernels(value) for value in data] if isinstance(data, list) else data


def test_large_kernels_spread_the_gradient_of_the_centre_further_than_small_ones():
    def area(part: Part) -> int:
        """How many pixels hold half of the gradient of the third stage's centre, after the norms saw some pictures."""
        torch.manual_seed(0)
        model: Any = part().train()
        with torch.no_grad():
            for _ in range(10):
                model.features(Batch("image", torch.randn(2, 3, 96, 96)), [3])
        pixels = torch.randn(1, 3, 160, 160, requires_grad=True)
        (feature,) = model.eval().features(Batch("image", pixels), [3])
        rows, columns = feature.side.grid
        centre = feature.x[0, rows // 2 * columns + columns // 2].sum()
        slope = torch.autograd.grad(centre, pixels)[0].abs().sum((0, 1)).flatten()
        mass = slope.sort(descending=True).values.cumsum(0)
        return int((mass < mass[-1] / 2).sum()) + 1

    large = unireplknet("a", layer_scale=None)
    assert area(large) > 4 * area(Part.from_json(with_small_kernels(large.to_json())))


def test_stochastic_depth_grows_linearly_over_all_stages():
    stages = on_meta("a", drop_path=0.22).transformer.stages
    rates = [block.drop_path for stage in stages for block in stage.blocks]
    assert rates == pytest.approx([0.02 * i for i in range(12)])


def test_features_of_pictures_of_any_size_have_their_lattices():
    model: Any = unireplknet("a")().eval()
    with torch.inference_mode():
        features = model.features(Batch("image", torch.randn(1, 3, 71, 130)), [1, 2, 3, 4])
    assert [f.side.grid for f in features] == [(18, 33), (9, 17), (5, 9), (3, 5)]
    assert [f.x.shape[-1] for f in features] == [40, 80, 160, 320]
    assert [4 * stride for stride in model.transformer.strides[1:]] == [4, 8, 16, 32]


def wave(seconds: float) -> tuple[np.ndarray, int]:
    return np.sin(np.arange(round(16_000 * seconds)) / 9).astype(np.float32), 16_000


SOURCES: dict[str, list[Any]] = {
    "image": [np.zeros((50, 60, 3), np.uint8)],
    "audio": [wave(0.5), wave(0.8)],
    "video": [np.zeros((6, 32, 40, 3), np.uint8)],
    "time_series": [np.sin(np.arange(600.0))[:, None] + np.arange(2.0)],
    "point_cloud": [np.random.default_rng(0).normal(size=(300, 3)), np.random.default_rng(1).normal(size=(200, 3))],
}


@pytest.mark.parametrize("modality", SOURCES)
def test_every_modality_goes_through_the_same_blocks_in_both_forms(modality):
    part = unireplknet("a", modality=modality, image=64, classes=3)
    assert Part.from_json(part.to_json()) == part
    model = randomised(part()).double()
    tokenizer = model.tokenizer(modality)
    batch = tokenizer.collate([tokenizer.read(source) for source in SOURCES[modality]])
    deployed: Any = reparameterize(model)
    with torch.inference_mode():
        z = model.embed(batch)
        torch.testing.assert_close(deployed.embed(batch), z, rtol=0, atol=1e-10)
    assert z.shape == ((2, 3) if modality == "time_series" else (len(SOURCES[modality]), 3))
    image, own = unireplknet("a", classes=3)().state_dict(), model.state_dict()
    blocks = {name: tensor.shape for name, tensor in image.items() if ".stages." in name}
    assert {name.replace(".core.", "."): t.shape for name, t in own.items() if ".stages." in name} == blocks


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="size must be one of a, f, p, n, t, s, b, l, xl, not 'm'"):
        unireplknet("m")


def test_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match="modality must be one of image, audio, .*, not 'text'"):
        unireplknet(modality="text")


@pytest.mark.parametrize("image", [0, 30])
def test_an_image_that_the_stem_does_not_divide_is_refused(image):
    with pytest.raises(ValueError, match=f"image must be a multiple of 4 px, not {image}"):
        unireplknet(image=image)
