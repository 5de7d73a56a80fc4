"""Downsampling: torch's convolution between its norms, every layout, odd lattices, refusals."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.downsampling import Downsampling
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens


def of(dim: int = 3, **options: Any) -> Any:
    made = Downsampling(dim, **{"width": 5, **options}).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


@pytest.mark.parametrize("options", [{}, {"kernel": 2, "padding": 0, "behind": None}, {"kernel": 3, "stride": 3}])
@pytest.mark.parametrize("grid", [(4, 6), (5, 7), (3, 2)])
def test_it_is_torchs_convolution_between_its_norms(options, grid):
    shrink = of(**options, before=Part(LayerNorm))
    x = torch.randn(2, grid[0] * grid[1], 3, dtype=torch.float64)
    made = shrink(Tokens(x, Side(grid=grid, modality="image")))
    map_in = shrink.before(x).mT.unflatten(-1, grid)
    how = {"stride": options.get("stride", 2), "padding": options.get("padding", 1)}
    map_out = F.conv2d(map_in, shrink.convolution.weight, shrink.convolution.bias, **how)
    expected = map_out.flatten(2).mT
    expected = expected if shrink.behind is None else shrink.behind(expected)
    torch.testing.assert_close(made.x, expected)
    assert made.side.grid == tuple(map_out.shape[2:])
    assert made.side.modality == "image"
    assert (shrink.width, shrink.stride) == (5, how["stride"])


def test_odd_axes_are_halved_with_rounding_up():
    grids = [Downsampling(3, width=4)(Tokens(torch.randn(1, 7 * n, 3), Side(grid=(7, n)))).side.grid for n in (1, 8, 9)]
    assert grids == [(4, 1), (4, 4), (4, 5)]


def test_sequences_of_different_lattices_get_theirs_in_every_layout():
    shrink, grids = of(), ((2, 3), (5, 4), (1, 1))
    rows = [torch.randn(1, a * b, 3, dtype=torch.float64) for a, b in grids]
    alone = [shrink(Tokens(row, Side(grid=grid))) for row, grid in zip(rows, grids, strict=True)]
    ends = torch.tensor([0, 6, 26, 27], dtype=torch.int32)
    packed = Tokens(torch.cat(rows, 1), Side(grids=grids, cu_seqlens=ends))
    for tokens in (packed, packed.padded()):
        made = shrink(tokens)
        assert made.side.lattices(3) == ((1, 2), (3, 2), (1, 1))
        assert (made.side.cu_seqlens is None) == (tokens.side.cu_seqlens is None)
        for one, several in zip(alone, made.split(), strict=True):
            torch.testing.assert_close(several, one.x[0])


def test_positions_and_sizes_of_the_old_tokens_are_left_out():
    x = torch.randn(1, 12, 3)
    side = Downsampling(3, width=4)(Tokens(x, Side(grid=(3, 4), positions=x, size=x[..., 0]))).side
    assert side.positions is None
    assert side.size is None


def test_it_round_trips():
    part = Part(Downsampling, width=8, before=Part(LayerNorm))
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize("options", [{"kernel": 0}, {"stride": 0}, {"padding": -1}])
def test_sizes_that_make_no_convolution_are_refused(options):
    with pytest.raises(ValueError, match="kernel and stride must be positive and padding not negative"):
        Downsampling(3, width=4, **options)


def test_prefix_tokens_are_refused():
    with pytest.raises(ValueError, match="the 1 prefix tokens are off the lattice"):
        Downsampling(3, width=4)(Tokens(torch.randn(1, 13, 3), Side(grid=(3, 4), prefix=1)))


@pytest.mark.parametrize("grid, options", [((12,), {}), ((2, 6), {"kernel": 4, "padding": 0})])
def test_a_lattice_of_other_axes_or_below_the_kernel_is_refused(grid, options):
    with pytest.raises(ValueError, match="two axes, no smaller than the kernel"):
        Downsampling(3, width=4, **options)(Tokens(torch.randn(1, 12, 3), Side(grid=grid)))


def test_tokens_without_a_lattice_are_refused():
    with pytest.raises(ValueError, match="side.grid"):
        Downsampling(3, width=4)(Tokens(torch.randn(1, 12, 3)))


def test_causal_order_is_refused():
    with pytest.raises(ValueError, match="causal"):
        Downsampling(3, width=4)(Tokens(torch.randn(1, 12, 3), Side(grid=(3, 4), causal=True)))


def test_clips_keep_their_frames_where_the_stride_says_so():
    shrink = of(kernel=(1, 2, 2), stride=(1, 2, 2), padding=0, behind=None)
    x = torch.randn(2, 3 * 4 * 6, 3, dtype=torch.float64)
    made = shrink(Tokens(x, Side(grid=(3, 4, 6))))
    how = shrink.convolution
    expected = F.conv3d(x.mT.unflatten(-1, (3, 4, 6)), how.weight, how.bias, stride=(1, 2, 2))
    torch.testing.assert_close(made.x, expected.flatten(2).mT)
    assert made.side.grid == (3, 2, 3)
    assert shrink.stride == (1, 2, 2)


def test_groups_of_channels_do_not_see_one_another():
    shrink, x = of(4, width=6, groups=2, behind=None), torch.randn(1, 20, 4, dtype=torch.float64)
    other = x.clone()
    other[..., 2:] += 1.0
    y, z = (shrink(Tokens(t, Side(grid=(4, 5)))).x for t in (x, other))
    assert torch.equal(y[..., :3], z[..., :3])
    assert not torch.equal(y[..., 3:], z[..., 3:])


def test_a_batch_norm_behind_goes_into_the_convolution_for_use():
    shrink = of(behind=Part(BatchNorm), bias=False).eval()
    torch.nn.init.uniform_(shrink.behind.running_var, 0.3, 2.0)
    torch.nn.init.normal_(shrink.behind.running_mean)
    tokens = Tokens(torch.randn(2, 20, 3, dtype=torch.float64), Side(grid=(4, 5)))
    deployed = shrink.deployed()
    assert deployed.behind is None
    torch.testing.assert_close(deployed(tokens).x, shrink(tokens).x, rtol=0, atol=1e-12)
    assert shrink.behind is not None


@pytest.mark.parametrize("options", [{"kernel": (3, 3), "stride": (1, 2, 2)}, {"kernel": (3,)}])
def test_sizes_of_different_axes_are_refused(options):
    with pytest.raises(ValueError, match="of two or three axes, the same for all"):
        Downsampling(3, width=4, **options)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="groups must divide the widths 3 and 4, not 2"):
        Downsampling(3, width=4, groups=2)


@pytest.mark.parametrize("sizes, memory", [(2, torch.channels_last), ((1, 2, 2), torch.channels_last_3d)])
def test_the_weight_lies_in_memory_as_the_tokens_do_and_starts_as_if_it_did_not(sizes, memory):
    torch.manual_seed(3)
    made = Downsampling(8, width=16, kernel=sizes, stride=sizes).convolution
    assert made.weight.is_contiguous(memory_format=memory)
    torch.manual_seed(3)
    plain = (torch.nn.Conv2d if sizes == 2 else torch.nn.Conv3d)(8, 16, sizes)
    assert torch.equal(made.weight, torch.nn.init.trunc_normal_(plain.weight, std=0.02))
