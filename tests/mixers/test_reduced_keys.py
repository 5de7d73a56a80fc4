"""Reduced keys: spatial-reduction attention in loops, prefix tokens, limits, mixed lattices, refusals."""

from typing import Any

import pytest
import torch

from unimodal.downsampling import Downsampling
from unimodal.mixers.full import Full
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.part import Part
from unimodal.side import Side

HALF = Part(Downsampling, width=6, kernel=2, padding=0)


def randomised(reduce: Part = HALF) -> Any:
    mixer = ReducedKeys(6, mixer=Part(Full, heads=2), reduce=reduce).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter)
    return mixer


def in_loops(mixer: Any, x_ND: torch.Tensor, prefix: int, grid: tuple[int, int]) -> torch.Tensor:
    """Softmax over the keys of the prefix and of 2 x 2 boxes of the lattice, one query and head at a time."""
    rows, columns = grid
    reduce, full = mixer.reduce, mixer.mixer
    keys = list(x_ND[:prefix])
    for i in range(rows // 2):
        for j in range(columns // 2):
            total = reduce.convolution.bias.clone()
            for a in (0, 1):
                for b in (0, 1):
                    cell = x_ND[prefix + (2 * i + a) * columns + 2 * j + b]
                    total = total + reduce.convolution.weight[:, :, a, b] @ cell
            keys.append(reduce.behind(total))
    q_weight, k_weight, v_weight = full.to_qkv.weight.chunk(3)
    q_bias, k_bias, v_bias = full.to_qkv.bias.chunk(3)
    out = []
    for x_D in x_ND:
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            q = (q_weight @ x_D + q_bias)[head]
            logits = torch.stack([q @ (k_weight @ m + k_bias)[head] / 3**0.5 for m in keys])
            values = torch.stack([(v_weight @ m + v_bias)[head] for m in keys])
            heads.append(logits.softmax(0) @ values)
        out.append(full.to_out(torch.cat(heads)))
    return torch.stack(out)


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("grid", [(2, 4), (5, 3)])
def test_it_is_attention_to_the_reduced_lattice_in_loops(prefix, grid):
    mixer, x = randomised(), torch.randn(1, prefix + grid[0] * grid[1], 6).double()
    y = mixer(x, Side(grid=grid, prefix=prefix))
    torch.testing.assert_close(y[0], in_loops(mixer, x[0], prefix, grid), rtol=0, atol=1e-10)


def test_the_rows_that_no_kernel_reaches_have_no_influence_as_keys():
    mixer, x = randomised(), torch.randn(1, 15, 6).double()
    other = x.clone()
    other[:, 12:] += 1.0
    y, z = mixer(x, Side(grid=(5, 3))), mixer(other, Side(grid=(5, 3)))
    assert torch.equal(y[:, :12], z[:, :12])
    assert not torch.equal(y[:, 12:], z[:, 12:])


def test_lattices_of_a_packed_batch_are_reduced_each_by_itself():
    mixer, grids = randomised(), ((2, 4), (4, 4), (2, 4))
    rows = [torch.randn(1, a * b, 6).double() for a, b in grids]
    ends = torch.tensor([0, 8, 24, 32], dtype=torch.int32)
    packed = mixer(torch.cat(rows, 1), Side(grids=grids, cu_seqlens=ends))
    alone = [mixer(row, Side(grid=grid)) for row, grid in zip(rows, grids, strict=True)]
    torch.testing.assert_close(packed, torch.cat(alone, 1))


def test_tokens_of_another_width_are_refused():
    with pytest.raises(ValueError, match="reduce makes tokens of width 5, and the mixer reads 6"):
        ReducedKeys(6, mixer=Part(Full, heads=2), reduce=HALF.replace(width=5))


def test_tokens_without_a_lattice_are_refused():
    with pytest.raises(ValueError, match="side.grid"):
        randomised()(torch.randn(1, 8, 6).double())


def test_causal_order_is_refused():
    with pytest.raises(ValueError, match="causal"):
        randomised()(torch.randn(1, 8, 6).double(), Side(grid=(2, 4), causal=True))
