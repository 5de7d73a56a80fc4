"""The mixer ``divided_space_time`` against slow loops, its limits, and what must not influence what."""

from typing import Any

import pytest
import torch

from unimodal.mixers.divided_space_time import DividedSpaceTime
from unimodal.side import Side
from unimodal.tokens import Tokens

GRID, PREFIX = (3, 2, 4), 2


def attention(mixer, x_query, x_keys):
    """One token's multi-head attention to others, in loops over heads and keys."""
    dim, heads = len(x_query), mixer.full.heads
    wide = dim // heads
    weight, bias = mixer.full.to_qkv.weight, mixer.full.to_qkv.bias
    out = torch.zeros(dim, dtype=x_query.dtype)
    for h in range(heads):
        part = [slice(i * dim + h * wide, i * dim + (h + 1) * wide) for i in range(3)]
        q = weight[part[0]] @ x_query + bias[part[0]]
        keys = [weight[part[1]] @ x + bias[part[1]] for x in x_keys]
        values = [weight[part[2]] @ x + bias[part[2]] for x in x_keys]
        share = torch.stack([(q @ k / wide**0.5).exp() for k in keys])
        share = share / share.sum()
        out[h * wide : (h + 1) * wide] = sum(s * v for s, v in zip(share, values, strict=True))
    return mixer.full.to_out.weight @ out + mixer.full.to_out.bias


@pytest.mark.parametrize("over", ["time", "space"])
def test_it_equals_the_equation(over):
    mixer = DividedSpaceTime(6, heads=2, over=over).double()
    frames, places = GRID[0], GRID[1] * GRID[2]
    x = torch.randn(2, PREFIX + frames * places, 6, dtype=torch.float64)
    y = mixer(x, Side(grid=GRID, prefix=PREFIX))
    for b in range(2):
        prefix, lattice = x[b, :PREFIX], x[b, PREFIX:].view(frames, places, 6)
        for t in range(frames):
            for p in range(places):
                keys = list(lattice[:, p]) if over == "time" else [*prefix, *lattice[t]]
                expected = attention(mixer, lattice[t, p], keys)
                torch.testing.assert_close(y[b, PREFIX + t * places + p], expected, rtol=0, atol=1e-12)
        for r in range(PREFIX):
            each = [attention(mixer, prefix[r], [*prefix, *lattice[t]]) for t in range(frames)]
            expected = sum(each) / frames if over == "space" else torch.zeros(6, dtype=torch.float64)
            torch.testing.assert_close(y[b, r], expected, rtol=0, atol=1e-12)


def test_over_space_a_clip_of_one_frame_is_full_attention_and_over_time_one_of_one_place_is():
    x = torch.randn(2, 5, 6)
    space, time = (DividedSpaceTime(6, heads=2, over=over) for over in ("space", "time"))
    torch.testing.assert_close(space(x, Side(grid=(1, 2, 2), prefix=1)), space.full(x))
    torch.testing.assert_close(time(x, Side(grid=(5, 1, 1))), time.full(x))


@pytest.mark.parametrize("over", ["time", "space"])
def test_only_the_same_place_or_the_same_moment_has_influence(over):
    mixer, side = DividedSpaceTime(6, heads=2, over=over), Side(grid=(3, 4))
    x = torch.randn(1, 12, 6)
    changed = x.clone()
    changed[0, 5] += 1.0  # frame 1, place 1
    moved = (mixer(x, side) != mixer(changed, side)).any(-1)[0].view(3, 4)
    expected = torch.zeros(3, 4, dtype=torch.bool)
    expected[:, 1] = over == "time"
    expected[1] |= over == "space"
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("over", ["time", "space"])
def test_clips_of_other_lengths_in_a_batch_get_what_they_get_alone(over):
    mixer, grids = DividedSpaceTime(6, heads=2, over=over), ((2, 2, 3), (4, 1, 2), (1, 1, 1))
    rows = [torch.randn(1 + t * y * x, 6) for t, y, x in grids]
    padded = Tokens(
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=9.0),
        Side(grids=grids, prefix=1, lengths=torch.tensor([len(row) for row in rows])),
    )
    for tokens in (padded, padded.packed()):
        mixed = tokens.replace(mixer(tokens.x, tokens.side)).split()
        for row, grid, got in zip(rows, grids, mixed, strict=True):
            torch.testing.assert_close(got, mixer(row[None], Side(grid=grid, prefix=1))[0])


@pytest.mark.parametrize("over", ["time", "space"])
def test_gradients_of_every_input_and_parameter_are_right(over):
    mixer, side = DividedSpaceTime(4, heads=2, over=over).double(), Side(grid=(2, 2), prefix=1)
    x = torch.randn(1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixer(x, side), (x,))
    mixer(x, side).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in mixer.parameters())


@pytest.mark.parametrize("constraint", ["mask", "bias", "causal"])
def test_a_constraint_it_cannot_honour_is_refused(constraint):
    value: Any = True if constraint == "causal" else torch.ones(4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=f"'{constraint}' is set and not supported"):
        DividedSpaceTime(4, heads=2)(torch.randn(1, 4, 4), Side(grid=(2, 2), **{constraint: value}))


def test_a_missing_lattice_and_an_unknown_axis_are_refused():
    with pytest.raises(ValueError, match=r"side\.grid .* is needed here"):
        DividedSpaceTime(4, heads=2)(torch.randn(1, 4, 4))
    with pytest.raises(ValueError, match="over must be 'time' or 'space', not 'depth'"):
        DividedSpaceTime(4, heads=2, over="depth")
