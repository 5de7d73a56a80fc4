"""Deformable attention: its equation in loops, peers on the same weights, limits, influence, layouts and refusals."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.deformable_sampling import deformable_sampling
from unimodal.mixers.deformable import Deformable
from unimodal.side import Side
from unimodal.tokens import Tokens

LEVELS = ((4, 6), (2, 3))
CELLS = 24 + 6


def randomised(dim: int = 12, **options: Any) -> Any:
    mixer = Deformable(dim, heads=3, levels=2, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def read(picture_YXK: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The picture at a place in shares of its sides: four cells by their nearness, 0 outside."""
    rows, columns = picture_YXK.shape[:2]
    u, v = y * rows - 0.5, x * columns - 0.5
    total = torch.zeros(picture_YXK.shape[2], dtype=torch.float64)
    for i in (math.floor(u.item()), math.floor(u.item()) + 1):
        for j in (math.floor(v.item()), math.floor(v.item()) + 1):
            if 0 <= i < rows and 0 <= j < columns:
                total = total + (1 - (u - i).abs()) * (1 - (v - j).abs()) * picture_YXK[i, j]
    return total


def in_loops(mixer: Any, x: Tensor, at: Tensor, memory: Tensor) -> Tensor:
    heads, points = mixer.heads, mixer.points
    rows = []
    for b in range(len(x)):
        pictures = [
            part.unflatten(0, level).unflatten(-1, (heads, -1))
            for part, level in zip(mixer.to_value(memory[b]).split([24, 6]), LEVELS, strict=True)
        ]
        for n in range(x.shape[1]):
            offset = mixer.to_offset(x[b, n]).view(heads, 2, points, 2)
            weight = mixer.to_weight(x[b, n]).view(heads, -1).softmax(-1).view(heads, 2, points)
            ref, total = at[b, n], []
            for h in range(heads):
                own = torch.zeros(pictures[0].shape[-1], dtype=torch.float64)
                for i, (level_rows, level_columns) in enumerate(LEVELS):
                    for p in range(points):
                        dx, dy = offset[h, i, p]
                        if len(ref) == 2:
                            x_at, y_at = ref[0] + dx / level_columns, ref[1] + dy / level_rows
                        else:
                            x_at, y_at = ref[0] + dx / points * ref[2] / 2, ref[1] + dy / points * ref[3] / 2
                        own = own + weight[h, i, p] * read(pictures[i][:, :, h], x_at, y_at)
                total.append(own)
            rows.append(mixer.to_out(torch.cat(total)))
    return torch.stack(rows).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("coordinates", [2, 4])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_outputs_and_gradients_are_the_equations(coordinates, ratio):
    mixer = randomised(points=2, value_ratio=ratio)
    x, memory = (torch.randn(2, n, 12, dtype=torch.float64, requires_grad=True) for n in (3, CELLS))
    at = torch.rand(2, 3, coordinates, dtype=torch.float64, requires_grad=True)
    made = mixer(x, Side(positions=at, memory=Tokens(memory, Side(levels=LEVELS))))
    expected = in_loops(mixer, x, at, memory)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    to, of = torch.randn_like(made), (x, memory, at, *mixer.parameters())
    for own, theirs in zip(torch.autograd.grad(made, of, to), torch.autograd.grad(expected, of, to), strict=True):
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype, most", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_sampling_is_that_of_torchs_grid_also_outside_of_it(dtype, most):
    value = torch.randn(2, CELLS, 3, 4, dtype=dtype)
    at, weight = torch.rand(2, 5, 3, 2, 4, 2, dtype=dtype) * 1.6 - 0.3, torch.rand(2, 5, 3, 2, 4, dtype=dtype)
    expected = 0
    for i, (part, level) in enumerate(zip(value.split([24, 6], 1), LEVELS, strict=True)):
        picture = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, level)
        places = (2 * at[:, :, :, i] - 1).transpose(1, 2).flatten(0, 1)
        seen = F.grid_sample(picture, places, padding_mode="zeros", align_corners=False).unflatten(0, (2, 3))
        expected = expected + torch.einsum("bhknp,bnhp->bnhk", seen, weight[:, :, :, i])
    torch.testing.assert_close(deformable_sampling(value, LEVELS, at, weight), expected, rtol=0, atol=most)


def test_it_is_the_attention_of_transformers_on_the_same_weights():
    peers = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    second = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    from transformers import DeformableDetrConfig

    config = DeformableDetrConfig(d_model=32, num_feature_levels=2, disable_custom_kernels=True)
    detr = peers.DeformableDetrMultiscaleDeformableAttention(config, num_heads=4, n_points=4)
    mask2former = second.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention(32, 4, 2, 4)
    for parameter in (*detr.parameters(), *mask2former.parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    x, memory, at = torch.randn(2, 7, 32), torch.randn(2, CELLS, 32), torch.rand(2, 7, 1, 2).expand(-1, -1, 2, -1)
    shapes = torch.tensor(LEVELS)
    starts = torch.tensor([0, 24])
    given = {"encoder_hidden_states": memory, "reference_points": at, "level_start_index": starts}
    listed = {"spatial_shapes": shapes, "spatial_shapes_list": list(LEVELS)}
    for peer, levels in ((detr, listed), (mask2former, {"spatial_shapes_list": list(LEVELS)})):
        ours: Any = Deformable(32, heads=4, levels=2)
        names = {"to_offset": "sampling_offsets", "to_weight": "attention_weights"}
        names |= {"to_value": "value_proj", "to_out": "output_proj"}
        ours.load_state_dict(
            {f"{a}.{n}": peer.state_dict()[f"{b}.{n}"] for a, b in names.items() for n in ("weight", "bias")}
        )
        with torch.no_grad():
            expected = peer(x, **levels, **given)[0]
            made = ours(x, Side(positions=at[:, :, 0], memory=Tokens(memory, Side(levels=LEVELS))))
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_at_first_heads_look_in_their_own_directions_with_equal_weights():
    mixer: Any = Deformable(8, heads=4, levels=2, points=3)
    steps = torch.tensor([1.0, 2.0, 3.0])[:, None]
    ways = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    expected = (ways[:, None, None] * steps).expand(4, 2, 3, 2)
    torch.testing.assert_close(mixer.to_offset.bias.view(4, 2, 3, 2), expected, atol=1e-6, rtol=0)
    assert not mixer.to_offset.weight.any()
    assert not mixer.to_weight.weight.any()
    assert mixer.to_value.weight.abs().max() <= math.sqrt(6 / 16)


def test_with_no_offsets_a_cell_reads_itself():
    mixer: Any = Deformable(6, heads=3)
    torch.nn.init.zeros_(mixer.to_offset.bias)
    x = torch.randn(2, 24, 6)
    torch.testing.assert_close(mixer(x, Side(grid=(4, 6))), mixer.to_out(mixer.to_value(x)))


def test_levels_are_their_own_memory_and_prefix_tokens_only_ask():
    mixer = randomised()
    x = torch.randn(2, 2 + CELLS, 12, dtype=torch.float64)
    made = mixer(x, Side(levels=LEVELS, prefix=2))
    beside = Tokens(x[:, 2:], Side(levels=LEVELS))
    torch.testing.assert_close(made[:, 2:], mixer(x[:, 2:], Side(levels=LEVELS, memory=beside)))
    middle = torch.full((2, 2, 2), 0.5, dtype=torch.float64)
    torch.testing.assert_close(made[:, :2], mixer(x[:, :2], Side(positions=middle, memory=beside)))


def test_values_far_from_every_point_have_no_influence():
    mixer: Any = Deformable(6, heads=3, points=2)
    x, memory = torch.randn(1, 1, 6), torch.randn(1, 400, 6)
    side = Side(positions=torch.full((1, 1, 2), 0.025))
    other = memory.clone()
    other[:, 20 * 4 :] += 1.0
    before, after = (mixer(x, side.replace(memory=Tokens(m, Side(grid=(20, 20))))) for m in (memory, other))
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    "options, said",
    [({"heads": 0}, "heads, levels and points must be positive"), ({"heads": 5}, "heads 5 must divide the width 12")],
)
def test_heads_that_do_not_divide_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Deformable(12, **options)


@pytest.mark.parametrize(
    "side, said",
    [
        (Side(), "side.grid"),
        (Side(levels=((4, 6),)), "there are 1 levels, and 2 are read"),
        (Side(levels=LEVELS, causal=True), "causal"),
        (
            Side(positions=torch.rand(1, CELLS, 3), memory=Tokens(torch.randn(1, CELLS, 12), Side(levels=LEVELS))),
            "of 3",
        ),
        (Side(levels=LEVELS, memory=Tokens(torch.randn(1, CELLS, 12))), "the memory must have levels"),
        (Side(levels=LEVELS, memory=Tokens(torch.randn(1, 25, 12), Side(grid=(4, 6), prefix=1))), "memory has prefix"),
        (Side(memory=Tokens(torch.randn(1, CELLS, 12), Side(levels=LEVELS))), "the tokens must have levels"),
    ],
)
def test_what_has_no_lattices_or_no_meaning_here_is_refused(side, said):
    with pytest.raises(ValueError, match=said):
        Deformable(12, heads=3, levels=2)(torch.randn(1, CELLS, 12), side)


def test_levels_that_do_not_fit_the_values_are_refused():
    with pytest.raises(ValueError, match="do not fit 29 values"):
        deformable_sampling(torch.randn(1, 29, 1, 2), LEVELS, torch.rand(1, 1, 1, 2, 1, 2), torch.rand(1, 1, 1, 2, 1))
