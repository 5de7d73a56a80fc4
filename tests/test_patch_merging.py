"""Patch merging: the equation in loops, any layout, timm's own module, what it refuses."""

import pytest
import torch

from unimodal.patch_merging import PatchMerging
from unimodal.side import Side
from unimodal.tokens import Tokens


def made() -> PatchMerging:
    torch.manual_seed(0)
    merging = PatchMerging(3, width=5).double()
    for parameter in merging.parameters():
        torch.nn.init.normal_(parameter)
    return merging


@pytest.mark.parametrize("grid", [(4, 6), (5, 3), (1, 2)])
def test_the_equation_in_loops(grid):
    merging, x = made(), torch.randn(2, grid[0] * grid[1], 3, dtype=torch.float64)
    merged = merging(Tokens(x, Side(grid=grid, modality="image")))
    assert merged.side.grid == (-(-grid[0] // 2), -(-grid[1] // 2))
    assert merged.side.modality == "image"
    x_BYXD, zero = x.view(2, *grid, 3), x.new_zeros(2, 3)
    for p in range(merged.side.grid[0]):
        for q in range(merged.side.grid[1]):
            four = [(2 * p, 2 * q), (2 * p + 1, 2 * q), (2 * p, 2 * q + 1), (2 * p + 1, 2 * q + 1)]
            held = torch.cat([x_BYXD[:, a, b] if a < grid[0] and b < grid[1] else zero for a, b in four], -1)
            centred = held - held.mean(-1, keepdim=True)
            normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
            expected = (normed * merging.norm.weight + merging.norm.bias) @ merging.reduction.weight.mT
            torch.testing.assert_close(merged.x[:, p * merged.side.grid[1] + q], expected)


def test_lattices_of_a_mixed_batch_are_merged_as_alone():
    merging, grids = made(), ((2, 4), (3, 3))
    xs = [torch.randn(1, a * b, 3, dtype=torch.float64) for a, b in grids]
    ends = torch.tensor([0, 8, 17], dtype=torch.int32)
    packed = merging(Tokens(torch.cat(xs, 1), Side(grids=grids, cu_seqlens=ends)))
    alone = [merging(Tokens(x, Side(grid=grid))) for x, grid in zip(xs, grids, strict=True)]
    assert packed.side.grids == tuple(one.side.grid for one in alone) == ((1, 2), (2, 2))
    torch.testing.assert_close(packed.x, torch.cat([one.x for one in alone], 1))


@pytest.mark.parity
@pytest.mark.parametrize("grid", [(6, 4), (5, 7)])
def test_it_is_timms_module_on_its_weights(grid):
    swin = pytest.importorskip("timm.models.swin_transformer")
    peer, x = swin.PatchMerging(6).double(), torch.randn(2, *grid, 6, dtype=torch.float64)
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter)
    merging = PatchMerging(6).double()
    merging.norm.eps = peer.norm.eps
    merging.load_state_dict(peer.state_dict())
    assert (merging.width, merging.stride) == (12, 2)
    torch.testing.assert_close(merging(Tokens(x.flatten(1, 2), Side(grid=grid))).x, peer(x).flatten(1, 2))


@pytest.mark.parametrize(
    "side, match", [(Side(), "grid"), (Side(grid=(2, 3, 2)), "two axes"), (Side(grid=(3, 3), prefix=3), "prefix")]
)
def test_other_layouts_are_refused(side, match):
    with pytest.raises(ValueError, match=match):
        made()(Tokens(torch.zeros(1, 12, 3, dtype=torch.float64), side))
