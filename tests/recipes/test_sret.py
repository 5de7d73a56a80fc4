"""SReT: published counts, the network around its stages written out, slices that cost less, pictures of any size."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.multiply_adds import multiply_adds
from unimodal.part import Part
from unimodal.recipes.sret import sret
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens

# Parameters with a classifier of 1000, and 1e9 multiply-adds at 224 px, both of the released code's models.
PUBLISHED = {"t": (4_755_979, 1.112), "lt": (4_988_024, 1.164), "s": (20_899_692, 4.173)}
ALL_TOKENS = ((1, 1), (1, 1), (1, 1))


def billions(model: Any) -> float:
    with torch.device("meta"):
        return multiply_adds(model.eval().embed, Batch("image", torch.zeros(1, 3, 224, 224))) / 1e9


def small(**options: Any) -> Any:
    """Few heads, every number of them arbitrary."""
    model = sret("t", heads=(1, 2, 4), classes=10, **options)().double()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.ndim > 1:
            torch.nn.init.normal_(tensor, std=0.5 * tensor[0].numel() ** -0.5)
        elif name.endswith("running_var") or tensor.ndim == 0:
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
        else:
            torch.nn.init.normal_(tensor, mean=float("norm" in name and name.endswith("weight")), std=0.2)
    return model.eval()


@pytest.mark.parametrize("size", PUBLISHED)
def test_sizes_have_the_published_parameters_and_multiply_adds(size):
    with torch.device("meta"):
        model: Any = sret(size, classes=1000)()
    parameters, published = PUBLISHED[size]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert billions(model) == pytest.approx(published, rel=0.001)


def test_slices_save_a_fifth_and_more_loops_add_no_parameters_but_those_of_their_projections():
    with torch.device("meta"):
        sliced, whole, looped = sret("t")(), sret("t", groups=ALL_TOKENS)(), sret("t", loops=4)()
    assert 0.7 < billions(sliced) / billions(whole) < 0.9
    for a, b in zip(sliced.transformer.stages, looped.transformer.stages, strict=True):
        for one, other in zip(a.blocks, b.blocks, strict=True):
            assert [p.shape for p in one.blocks.parameters()] == [p.shape for p in other.blocks.parameters()]
            assert (len(one.projections), len(other.projections)) == (2, 4)


def test_around_its_stages_it_is_the_released_networks_equations():
    model, pixels = small(image=64), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    state, x = model.state_dict(), pixels
    for i in range(3):
        convolution, norm = (f"tokenizers.image.stem.{n}.{i}" for n in ("convolutions", "norms"))
        x = F.conv2d(x, state[f"{convolution}.weight"], state[f"{convolution}.bias"], stride=2, padding=1)
        mean, var, weight, bias = (
            state[f"{norm}.{n}"][:, None, None] for n in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((x - mean) / (var + 1e-5).sqrt() * weight + bias).relu()
    x = x + state["positions.image.table"].T.view(1, -1, 8, 8)
    with torch.inference_mode():
        for i, stage in enumerate(model.transformer.stages):
            if i:
                weight, bias = (state[f"transformer.between.{i - 1}.convolution.{n}"] for n in ("weight", "bias"))
                own = [
                    F.conv2d(x[:, [e * x.shape[1] // len(weight)]], weight[e : e + 1], bias[e : e + 1], 2, 1)
                    for e in range(len(weight))
                ]
                x = torch.cat(own, 1)
            tokens = Tokens(x.flatten(2).mT, Side(grid=(x.shape[2], x.shape[3])))
            x = stage(tokens).x.mT.reshape_as(x)
        z = x.mean((2, 3))
        z = (z - z.mean(1, True)) / (z.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
        z = z * state["readout.norm.weight"] + state["readout.norm.bias"]
        expected = z @ state["readout.project.weight"].T + state["readout.project.bias"]
        torch.testing.assert_close(model.embed(Batch("image", pixels)), expected, rtol=0, atol=1e-10)


def test_a_block_without_slices_is_the_released_codes_loop_of_attention_feed_forward_and_projection():
    model, x = small(groups=ALL_TOKENS), torch.randn(2, 15, 32, dtype=torch.float64)
    block = model.transformer.stages[0].blocks[1]
    state, y = block.state_dict(), x

    def fed(y: torch.Tensor, name: str, outputs: str, act: Any) -> torch.Tensor:
        h = F.layer_norm(y, (32,), state[f"{name}.norm.weight"], state[f"{name}.norm.bias"], 1e-6)
        branch = f"{name}.branch"
        first = "to_qkv" if outputs == "attention" else "to_hidden"
        h = act(h @ state[f"{branch}.{first}.weight"].T + state[f"{branch}.{first}.bias"])
        h = h @ state[f"{branch}.to_out.weight"].T + state[f"{branch}.to_out.bias"]
        return state[f"{name}.kept"] * y + state[f"{name}.added"] * h

    def attended(qkv: torch.Tensor) -> torch.Tensor:
        q, k, v = qkv.chunk(3, -1)
        return (q @ k.mT / 32**0.5).softmax(-1) @ v

    for loop in range(2):
        y = fed(y, "blocks.0", "attention", attended)
        y = fed(y, "blocks.1", "hidden", F.gelu)
        y = fed(y, f"projections.{loop}", "hidden", F.gelu)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), y, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sizes", [(224, 224), (256, 160), (61, 131)])
def test_one_state_reads_pictures_of_any_size_and_features_say_their_lattices(sizes):
    model = small().float()
    with torch.inference_mode():
        features = model.features(Batch("image", torch.randn(1, 3, *sizes)), [1, 2, 3])
    for stride, width, tokens in zip((8, 16, 32), (32, 64, 128), features, strict=True):
        assert tokens.side.grid == tuple(-(-n // stride) for n in sizes)
        assert tokens.x.shape[2] == width


def test_rates_of_stochastic_depth_grow_over_applications_as_in_the_released_code():
    with torch.device("meta"):
        model: Any = sret("t", drop_path=0.2)()
    rates = [block.blocks[0].drop_path for stage in model.transformer.stages for block in stage.blocks]
    assert rates == pytest.approx([0.01 * n for n in (0, 1, 4, 5, 6, 7, 8, 14, 15, 16)])


def test_every_parameter_learns():
    model = small(image=64)
    model.embed(Batch("image", torch.randn(1, 3, 64, 64, dtype=torch.float64))).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all() and p.grad.any()) for p in model.parameters())


def test_it_is_a_part_that_round_trips_and_refuses_what_it_does_not_have():
    part = sret("s", classes=10, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part
    with pytest.raises(ValueError, match="size must be one of t, lt, s"):
        sret("xl")
    with pytest.raises(ValueError, match="multiple of 8 px"):
        sret(image=30)
    with pytest.raises(ValueError, match="three stages|3 stages"):
        sret(heads=(1, 2))
