"""RMT: published counts, the released network written out from its weights, pictures of any size, what axes save."""

import functools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.manhattan import ManhattanAttention
from unimodal.manhattan_decay import decay_rates
from unimodal.multiply_adds import multiply_adds
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.recipes.rmt import rmt
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch
from unimodal.side import Side

# Parameters with a classifier of 1000, and 1e9 multiply-adds at 224 px, both of the released code's models.
PUBLISHED = {
    "tiny": (14_334_216, 2.64),
    "small": (26_967_240, 4.78),
    "base": (54_154_896, 10.37),
    "large": (95_464_864, 19.49),
}
WIDTHS, DEPTHS, HEADS = (16, 24, 32, 64), (1, 2, 1, 1), (4, 4, 8, 16)


@functools.cache
def on_meta(size: str) -> Any:
    with torch.device("meta"):
        return rmt(size, classes=1000)().eval()


def small(size: str = "tiny", **options: Any) -> Any:
    """A model of few channels whose every number matters, norms' averages and scales too."""
    widths = (20, 20, 20, 32) if size == "base" else WIDTHS
    model = rmt(size, widths=widths, depths=DEPTHS, **options)().double()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.ndim > 1:
            torch.nn.init.normal_(tensor, std=0.5 * tensor[0].numel() ** -0.5)
        elif name.endswith("running_var") or "scale" in name:
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
        else:
            torch.nn.init.normal_(tensor, mean=float("norm" in name and name.endswith("weight")), std=0.2)
    return model.eval()


@pytest.mark.parametrize("size", PUBLISHED)
def test_sizes_have_the_published_parameters_and_multiply_adds(size):
    model, (parameters, billions) = on_meta(size), PUBLISHED[size]
    assert sum(p.numel() for p in model.parameters()) == parameters
    with torch.device("meta"):
        batch = Batch("image", torch.zeros(1, 3, 224, 224))
    assert multiply_adds(model.embed, batch) / 1e9 == pytest.approx(billions, rel=0.005)


def written_out(model: Any, x: Tensor, stages: tuple[tuple[int, int, float, bool], ...]) -> Tensor:
    """The released network's equations on maps, from the weights alone; a stage has depth, heads, spread, whole."""
    state: dict[str, Tensor] = model.state_dict()

    def norm(h: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{n}"][:, None, None] for n in ("running_mean", "running_var", "weight", "bias")
        )
        return (h - mean) / (var + 1e-5).sqrt() * weight + bias

    def layer(h: Tensor, name: str) -> Tensor:
        weight, bias = (state[f"{name}.{n}"][:, None, None] for n in ("weight", "bias"))
        return (h - h.mean(1, True)) / (h.var(1, correction=0, keepdim=True) + 1e-6).sqrt() * weight + bias

    def convolved(h: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(h, weight, state[f"{name}.bias"], stride, weight.shape[-1] // 2, groups=groups)

    def linear(h: Tensor, name: str) -> Tensor:
        return torch.einsum("ed,bdyx->beyx", state[f"{name}.weight"], h) + state[f"{name}.bias"][:, None, None]

    def attended(h: Tensor, name: str, heads: int, spread: float, whole: bool) -> Tensor:
        (_, dim, rows, columns), width = h.shape, h.shape[1] // heads
        q, k, v = linear(h, f"{name}.to_qkv").unflatten(1, (3, heads, width)).unbind(1)
        place = torch.arange(rows * columns, dtype=h.dtype).view(rows, columns)
        angle = torch.stack([place * 10_000.0 ** -(j / max(width // 2 - 1, 1)) for j in range(width // 2)])

        def turned(t: Tensor) -> Tensor:
            a, b = t.chunk(2, 2)
            return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], 2)

        q, k, rates = turned(q), turned(k), torch.tensor(decay_rates(heads, 2.0, spread), dtype=h.dtype)
        logits = torch.einsum("bhcyx,bhcuw->bhyxuw", q, k) / math.sqrt(width)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        down, across = (abs(t[:, :, None, None] - t[None, None]) for t in (y, x))
        logits = logits + rates[:, None, None, None, None] * (down + across)
        o = v
        for other in [None] if whole else [down, across]:
            seen = logits if other is None else logits.masked_fill(other > 0, -torch.inf)
            o = torch.einsum("bhyxuw,bhcuw->bhcyx", seen.flatten(4).softmax(-1).view_as(seen), o)
        around = convolved(v.flatten(1, 2), f"{name}.around", groups=dim)
        return linear(o.flatten(1, 2) + around, f"{name}.to_out")

    for i, stride in enumerate((2, 1, 2, 1)):
        stem = "tokenizers.image.stem"
        x = norm(convolved(F.gelu(x) if i else x, f"{stem}.convolutions.{i}", stride), f"{stem}.norms.{i}")
    for i, (depth, heads, spread, whole) in enumerate(stages):
        if i:
            between = f"transformer.between.{i - 1}"
            x = norm(convolved(x, f"{between}.convolution", 2), f"{between}.behind")
        for j in range(depth):
            ahead, block = (f"transformer.stages.{i}.blocks.{j}.parts.{n}" for n in (0, 1))
            s, t = (state.get(f"{block}.scale_{n}", torch.ones(x.shape[1]))[:, None, None] for n in ("mixer", "ffn"))
            x = x + convolved(x, f"{ahead}.branch.0", groups=x.shape[1])
            x = x + s * attended(layer(x, f"{block}.norm_mixer"), f"{block}.mixer", heads, spread, whole)
            h = F.gelu(linear(layer(x, f"{block}.norm_ffn"), f"{block}.ffn.parts.0.project"))
            h = h + convolved(h, f"{block}.ffn.parts.2.branch.0", groups=h.shape[1])
            x = x + t * linear(h, f"{block}.ffn.parts.3.project")
    z = F.silu(norm(linear(x, "readout.chain.parts.0.project"), "readout.chain.parts.1")).mean((2, 3))
    return z @ state["readout.readout.project.weight"].mT + state["readout.readout.project.bias"]


STAGES = {
    "tiny": tuple(zip(DEPTHS, HEADS, (4, 4, 6, 6), (False, False, True, True), strict=True)),
    "base": tuple(zip(DEPTHS, (5, 5, 10, 16), (5, 5, 6, 6), (False, False, False, True), strict=True)),
}


@pytest.mark.parametrize("size", STAGES)
@pytest.mark.parametrize("sizes", [(64, 64), (77, 45)])
def test_it_is_the_released_networks_equations(size, sizes):
    model, pixels = small(size, classes=10), torch.randn(2, 3, *sizes, dtype=torch.float64)
    with torch.inference_mode():
        made = model.embed(Batch("image", pixels))
        expected = written_out(model, pixels, STAGES[size])
        assert 0.1 < float(made.std()) < 100
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)  # angles are float32


def test_layer_scale_is_where_the_released_code_has_it():
    for size, stages in {"tiny": (), "small": (), "base": (2, 3), "large": (2, 3)}.items():
        scaled = {
            i for i, s in enumerate(on_meta(size).transformer.stages) if s.blocks[0].parts[1].scale_ffn is not None
        }
        assert scaled == set(stages)


@pytest.mark.parametrize("sizes", [(224, 224), (256, 320), (61, 131)])
def test_one_state_reads_pictures_of_any_size_and_features_say_their_lattices(sizes):
    model = small(classes=3).float()
    with torch.inference_mode():
        features = model.features(Batch("image", torch.randn(1, 3, *sizes)), [1, 2, 3, 4])
    for stride, width, tokens in zip((4, 8, 16, 32), WIDTHS, features, strict=True):
        grid = tuple(-(-n // stride) for n in sizes)
        assert tokens.side.grid == grid
        assert tokens.x.shape == (1, math.prod(grid), width)


def test_pictures_of_several_sizes_in_one_batch_are_read_as_alone():
    model = small(classes=3)
    pictures = tuple(torch.randn(3, *sizes, dtype=torch.float64) for sizes in ((48, 64), (33, 40), (48, 64)))
    with torch.inference_mode():
        together = model.embed(Batch("image", pictures))
        alone = torch.cat([model.embed(Batch("image", picture[None])) for picture in pictures])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


def test_the_deployed_form_has_the_same_outputs_and_no_batch_norms():
    model = small(classes=3)
    deployed: Any = reparameterize(model)
    batch = Batch("image", torch.randn(2, 3, 50, 64, dtype=torch.float64))
    with torch.inference_mode():
        torch.testing.assert_close(deployed.embed(batch), model.embed(batch), rtol=0, atol=1e-10)
    assert not any(isinstance(module, BatchNorm) for module in deployed.modules())


@pytest.mark.parametrize("decomposed, exponent", [(False, 4.0), (True, 3.0)])
def test_attention_costs_the_fourth_power_of_the_side_as_a_whole_and_the_third_along_axes(decomposed, exponent):
    attention, costs = ManhattanAttention(decomposed=decomposed), []
    for side in (16, 64):
        q = torch.empty(1, 4, side**2, 16, device="meta")
        costs.append(multiply_adds(attention, q, q, q, Side(grid=(side, side))))
    assert math.log(costs[1] / costs[0], 4) == pytest.approx(exponent, abs=0.01)


def test_every_parameter_learns_and_blocks_are_skipped_more_the_deeper_they_are():
    model = small("base", classes=3, drop_path=0.4)
    model.embed(Batch("image", torch.randn(1, 3, 64, 64, dtype=torch.float64))).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all() and p.grad.any()) for p in model.parameters())
    rates = [block.parts[1].drop_path for stage in model.transformer.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_it_is_a_part_that_round_trips_and_refuses_what_it_does_not_have():
    part = rmt("base", classes=10, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part
    with pytest.raises(ValueError, match="size must be one of tiny"):
        rmt("huge")
    with pytest.raises(ValueError, match="multiple of 4 px"):
        rmt(image=30)
    with pytest.raises(ValueError, match="four stages"):
        rmt(depths=(1, 2, 3))
