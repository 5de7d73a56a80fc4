"""UniFormer: published counts and costs, the released networks written out, reach, time, positions, every size."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unimodal.part import Part
from unimodal.recipes.uniformer import uniformer
from unimodal.sample import Batch
from unimodal.side import Side

TINY: dict[str, Any] = {"depths": (1, 1, 2, 1), "widths": (8, 12, 16, 24), "head_width": 8, "image": 32}
# Parameters with 1000 classes, 400 of clips, by the released code.
COUNTS = [
    ("image", "small", False, 21_545_256),
    ("image", "small_plus", False, 24_032_552),
    ("image", "base", False, 49_776_552),
    ("image", "base_ls", False, 49_796_520),
    ("image", "large_ls", False, 99_457_768),
    ("video", "small", False, 21_400_400),
    ("video", "base", False, 49_813_200),
    ("video", "small", True, 27_847_504),
]
# Multiply-adds in 1e9 at 224 px by the released code; of clips also four times these in its README.
COSTS = [
    ("image", "small", (), 3.632),
    ("image", "small_plus", (), 4.201),
    ("image", "base", (), 8.249),
    ("video", "small", (8,), 17.57),
    ("video", "small", (16,), 41.66),
]


def randomised(model: Any) -> Any:
    """Norms have statistics, factors and shifts of their own, and layer scales are none."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.ndim > 1:
            torch.nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5)
        elif name.endswith(("running_var", "scale_mixer", "scale_ffn")):
            torch.nn.init.uniform_(tensor, 0.4, 1.6)
        else:
            torch.nn.init.normal_(tensor, mean=float(name.endswith("weight")), std=0.2)
    return model.eval()


def costed(model: Any, batch: Batch) -> FlopCounterMode:
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(batch) if model.readout is None else model.embed(batch)
    return counter


@pytest.mark.parametrize("modality, size, split, parameters", COUNTS)
def test_sizes_have_the_parameter_counts_of_the_released_code(modality, size, split, parameters):
    part = uniformer(size, modality=modality, classes=1000 if modality == "image" else 400, split=split)
    assert Part.from_json(part.to_json()) == part
    with torch.device("meta"):
        model: Any = part()
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("modality, size, frames, billions", COSTS)
def test_224_px_cost_the_published_multiply_adds(modality, size, frames, billions):
    with torch.device("meta"):
        model: Any = uniformer(size, modality=modality, classes=1000 if modality == "image" else 400)().eval()
        counter = costed(model, Batch(modality, torch.zeros(1, 3, *frames, 224, 224)))
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=5e-4)


def written_out(state: dict[str, Tensor], x: Tensor, heads: dict[int, int], *, split: bool = False) -> Tensor:
    """The released networks' equations on maps (B, D, (T,) Y, X), from the weights alone."""
    convolve: Any = F.conv2d if x.ndim == 4 else F.conv3d
    one = (1,) * (x.ndim - 2)

    def affine(h: Tensor, name: str) -> Tensor:
        weight, bias = (state[f"{name}.{kind}"].view(-1, *one) for kind in ("weight", "bias"))
        return h * weight + bias

    def layer(h: Tensor, name: str, eps: float = 1e-6) -> Tensor:
        mean, var = h.mean(1, keepdim=True), h.var(1, correction=0, keepdim=True)
        return affine((h - mean) / (var + eps).sqrt(), name)

    def batch(h: Tensor, name: str) -> Tensor:
        mean, var = (state[f"{name}.running_{kind}"].view(-1, *one) for kind in ("mean", "var"))
        return affine((h - mean) / (var + 1e-5).sqrt(), name)

    def mapped(h: Tensor, name: str) -> Tensor:
        return convolve(h, state[f"{name}.weight"].unflatten(1, (-1, *one)), state[f"{name}.bias"])

    def strided(h: Tensor, name: str, stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
        return convolve(h, state[f"{name}.weight"], state[f"{name}.bias"], stride=stride, padding=padding)

    def around(h: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.weight"]
        return convolve(h, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2, groups=len(weight))

    def attended(h: Tensor, name: str, heads: int) -> Tensor:
        """Among the cells of a map, all axes of it."""
        q, k, v = mapped(h, f"{name}.to_qkv").flatten(2).unflatten(1, (3, heads, -1)).unbind(1)
        share = (q.mT @ k * q.shape[2] ** -0.5).softmax(-1)
        return mapped((v @ share.mT).flatten(1, 2).view_as(h), f"{name}.to_out")

    def over_time(h: Tensor, name: str, heads: int) -> Tensor:
        columns = [
            attended(h[..., [y], :][..., [x]], name, heads) for y in range(h.shape[3]) for x in range(h.shape[4])
        ]
        return torch.cat(columns, -1).unflatten(-1, h.shape[3:]).squeeze(3)

    def over_space(h: Tensor, name: str, heads: int) -> Tensor:
        return torch.cat([attended(h[:, :, [t]], name, heads) for t in range(h.shape[2])], 2)

    def fed(h: Tensor, name: str) -> Tensor:
        return mapped(F.gelu(mapped(h, f"{name}.to_hidden")), f"{name}.to_out")

    if "norm.weight" in state and x.ndim == 4:
        x = layer(strided(x, "tokenizers.image.stem.project", (4, 4), (0, 0)), "norm", 1e-5)
    elif x.ndim == 5:
        x = layer(strided(x, "tokenizers.video.stem.project", (2, 4, 4), (1, 0, 0)), "norm", 1e-5)
    else:
        for i in range(2):
            h = strided(x, f"tokenizers.image.stem.convolutions.{i}", (2, 2), (1, 1))
            h = batch(h, f"tokenizers.image.stem.norms.{i}")
            x = h if i else F.gelu(h)
    for i, depth in enumerate(TINY["depths"]):
        if i:
            name, patch = f"transformer.between.{i - 1}", (1, 2, 2)[-len(one) :]
            if f"{name}.behind.running_var" in state:
                x = batch(strided(x, f"{name}.convolution", (2, 2), (1, 1)), f"{name}.behind")
            else:
                x = layer(strided(x, f"{name}.convolution", patch, (0,) * len(one)), f"{name}.behind", 1e-5)
        for j in range(depth):
            block = f"transformer.stages.{i}.blocks.{j}.parts"
            x = x + around(x, f"{block}.0.branch.0")
            if i not in heads:
                h = mapped(batch(x, f"{block}.1.branch.0"), f"{block}.1.branch.1.project")
                x = x + mapped(around(h, f"{block}.1.branch.2"), f"{block}.1.branch.3.project")
                x = x + fed(batch(x, f"{block}.2.branch.0"), f"{block}.2.branch.1")
            elif split:
                inner = f"{block}.1.branch"
                h = x + over_time(layer(x, f"{inner}.0.branch.0"), f"{inner}.0.branch.1.full", heads[i])
                x = x + over_space(layer(h, f"{inner}.1"), f"{inner}.2.full", heads[i])
                x = x + fed(layer(x, f"{block}.2.branch.0"), f"{block}.2.branch.1")
            else:
                s, t = (state.get(f"{block}.1.scale_{kind}", torch.ones(1)).view(-1, *one) for kind in ("mixer", "ffn"))
                x = x + s * attended(layer(x, f"{block}.1.norm_mixer"), f"{block}.1.mixer", heads[i])
                x = x + t * fed(layer(x, f"{block}.1.norm_ffn"), f"{block}.1.ffn")
    z = batch(x, "readout.chain.parts.0").flatten(2).mean(2)
    return z @ state["readout.readout.project.weight"].mT + state["readout.readout.project.bias"]


@pytest.mark.parametrize(
    "size, options, pixels",
    [
        ("small", {}, (45, 70)),
        ("base_ls", {}, (64, 32)),
        ("small_plus", {}, (45, 70)),
        ("small", {"modality": "video"}, (4, 45, 70)),
        ("small", {"modality": "video"}, (5, 32, 32)),
        ("small", {"modality": "video", "split": True}, (6, 45, 70)),
    ],
)
def test_it_is_the_released_networks_equations(size, options, pixels):
    model = randomised(uniformer(size, classes=5, **options, **TINY)()).double()
    data = torch.randn(2, 3, *pixels, dtype=torch.float64)
    batch = Batch(options.get("modality", "image"), data)
    with torch.inference_mode():
        expected = written_out(model.state_dict(), data, {2: 2, 3: 3}, split=options.get("split", False))
        assert float(expected.std()) > 0.1
        torch.testing.assert_close(model.embed(batch), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("modality, grid", [("image", (9, 11)), ("video", (9, 8, 9))])
def test_a_local_block_reaches_three_cells_each_way_and_a_global_one_reaches_all(modality, grid):
    core = randomised(uniformer(modality=modality, **TINY)()).double().transformer
    for stage, width, reach in ((core.stages[0], 8, 3), (core.stages[3], 24, max(grid))):
        x = torch.randn(1, *grid, width, dtype=torch.float64)
        middle = tuple(n // 2 for n in grid)
        other = x.clone()
        other[(0, *middle)] += 1.0
        block, side = stage.blocks[0], Side(grid=grid)
        with torch.inference_mode():
            y, z = (block(values.flatten(1, -2), side).view((*grid, width)) for values in (x, other))
        moved = (y != z).any(-1)
        expected = torch.zeros(grid, dtype=torch.bool)
        expected[tuple(slice(max(m - reach, 0), m + reach + 1) for m in middle)] = True
        assert torch.equal(moved, expected)


@pytest.mark.parametrize("modality, grid", [("image", (4, 6)), ("video", (3, 4, 3))])
def test_local_relations_are_sums_over_the_offsets_of_a_small_tube(modality, grid):
    """A token's value reaches another one with a factor that depends on channel and offset only (eq. 3)."""
    branch = randomised(uniformer(modality=modality, **TINY)()).double().transformer.stages[0].blocks[0].parts[1].branch
    v_LD, affinity, bias = (
        torch.randn(torch.Size(grid).numel(), 8, dtype=torch.float64),
        branch[2].weight,
        branch[2].bias,
    )
    cells, expected = torch.cartesian_prod(*(torch.arange(n) for n in grid)), torch.empty_like(v_LD)
    for i, at in enumerate(cells):
        offsets = cells - at + 2
        near = ((offsets >= 0) & (offsets < 5)).all(1).nonzero()[:, 0]
        expected[i] = bias + sum(affinity[(slice(None), 0, *offsets[j])] * v_LD[j] for j in near)
    torch.testing.assert_close(branch[2](v_LD[None], Side(grid=grid))[0], expected)


@pytest.mark.parametrize("sizes", [(192, 192), (256, 256), (224, 160)])
def test_pictures_of_any_size_go_through_without_a_change_of_any_weight(sizes):
    model: Any = uniformer(**TINY)().eval()
    with torch.inference_mode():
        features = model.features(Batch("image", torch.randn(1, 3, *sizes)), [1, 2, 3, 4])
    assert [f.side.grid for f in features] == [tuple(n // s for n in sizes) for s in (4, 8, 16, 32)]
    assert [4 * stride for stride in model.transformer.strides[1:]] == [4, 8, 16, 32]


def test_a_clip_of_16_frames_has_1568_tokens_in_its_third_stage():
    with torch.device("meta"):
        model: Any = uniformer(modality="video", **TINY)().eval()
        features = model.features(Batch("video", torch.zeros(1, 3, 16, 224, 224)), [3, 4])
    assert [(f.side.grid, f.x.shape[1]) for f in features] == [((8, 14, 14), 1568), ((8, 7, 7), 392)]


def test_local_stages_cost_as_the_frames_and_attention_as_their_square():
    costs = []
    for frames in (16, 32):
        with torch.device("meta"):
            model: Any = uniformer(modality="video", **TINY)().eval()
            counts: Any = costed(model, Batch("video", torch.zeros(1, 3, frames, 64, 64))).get_flop_counts()
        maps = sum(flops for op, flops in counts["Global"].items() if str(op) == "aten.bmm")
        local = [sum(row.values()) for name, row in counts.items() if name.endswith(("stages.0", "stages.1"))]
        costs.append((maps, local))
    (few_maps, few_local), (many_maps, many_local) = costs
    assert many_maps == 4 * few_maps > 0
    assert many_local == [2 * flops for flops in few_local]
    assert len(few_local) == 2


def test_time_backwards_is_another_clip():
    model = randomised(uniformer(modality="video", classes=5, **TINY)()).double()
    clip = torch.randn(1, 3, 8, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        z, backwards = (model.embed(Batch("video", values)) for values in (clip, clip.flip(2)))
    assert float((z - backwards).abs().max()) > 1e-2


def test_without_its_position_a_global_block_does_not_know_the_order_of_frames():
    block = randomised(uniformer(modality="video", **TINY)()).double().transformer.stages[3].blocks[0]
    x_BTPD, order, side = (
        torch.randn(1, 4, 6, 24, dtype=torch.float64),
        torch.tensor([2, 0, 3, 1]),
        Side(grid=(4, 2, 3)),
    )
    for relate, same in ((block.parts[1], True), (block, False)):
        y, z = (relate(x.flatten(1, 2), side).unflatten(1, (4, 6)) for x in (x_BTPD, x_BTPD[:, order]))
        assert torch.allclose(y[:, order], z, rtol=0, atol=1e-12) is same


def test_divided_attention_looks_at_each_frame_alone_before_training():
    model: Any = uniformer(modality="video", split=True, **TINY)().eval()
    block, side = model.transformer.stages[2].blocks[0], Side(grid=(3, 2, 2))
    x = torch.randn(1, 12, 16)
    other = x.clone()
    other[:, 4:] += 1.0
    y, z = (block.parts[1](values, side) for values in (x, other))
    assert torch.equal(y[:, :4], z[:, :4])


def test_stochastic_depth_grows_linearly_over_all_stages_and_leaves_positions_alone():
    model: Any = uniformer(**TINY, drop_path=0.4)()
    blocks = [block for stage in model.transformer.stages for block in stage.blocks]
    assert [part.drop_path for block in blocks for part in block.parts[1:]] == pytest.approx(
        [0.0, 0.0, 0.1, 0.1, 0.2, 0.3, 0.4]
    )
    assert not any(block.parts[0].drop_path for block in blocks)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"modality": "audio"}, "modality must be image or video, not 'audio'"),
        ({"size": "tiny"}, "size must be one of xxs, xs, small, small_plus, base, base_ls, large_ls, not 'tiny'"),
        ({"size": "base_ls", "modality": "video"}, "size must be one of small, base, not 'base_ls'"),
        ({"image": 30}, "image must be a multiple of 4 px, not 30"),
        ({"split": True}, "split=True divides space and time, and pictures have no time"),
        ({"relations": "LLG"}, "a letter L, G or H, a depth and a width a stage, not 'LLG'"),
        ({"relations": "LLGX"}, "a letter L, G or H, a depth and a width a stage, not 'LLGX'"),
        ({"relations": "LHLG"}, "relations H are those of the last stages, on pictures, not 'LHLG' on images"),
        ({"relations": "LLGH", "modality": "video"}, "relations H are .* on pictures, not 'LLGH' on videos"),
        ({"head_width": 48}, "head_width 48 does not divide the widths"),
    ],
)
def test_what_it_does_not_have_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        uniformer(**options)
