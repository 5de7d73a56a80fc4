"""Grid pooling: boxes in loops, limits, layouts, influence, gradients, refusals; and what it hands on."""

from typing import Any

import pytest
import torch

from unimodal.chain import Chain
from unimodal.ffns.linear import Linear
from unimodal.grid_pooling import GridPooling
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens


def in_loops(x_ND: torch.Tensor, grid: tuple[int, int], cells: int) -> torch.Tensor:
    rows, columns = grid
    map_YXD = x_ND.unflatten(0, grid)
    out = []
    for i in range(cells):
        for j in range(cells):
            y, x = (slice(k * n // cells, -(-(k + 1) * n // cells)) for k, n in ((i, rows), (j, columns)))
            out.append(map_YXD[y, x].flatten(0, 1).mean(0))
    return torch.stack(out)


@pytest.mark.parametrize("grid", [(6, 9), (7, 5), (2, 3), (1, 1)])
def test_each_token_is_the_mean_of_its_box(grid):
    x = torch.randn(2, grid[0] * grid[1], 4).double()
    made = GridPooling(4, cells=3)(Tokens(x, Side(grid=grid, modality="image")))
    assert (made.side.grid, made.side.modality) == ((3, 3), "image")
    for row, given in zip(made.x, x, strict=True):
        torch.testing.assert_close(row, in_loops(given, grid, 3), rtol=0, atol=1e-12)


def test_a_lattice_of_its_own_size_stays_as_it_is_and_goes_through_what_stands_behind():
    chain = Part(Chain, parts=(Part(Linear, width=5), Part(LayerNorm)))
    pooling, tokens = GridPooling(4, cells=3, behind=chain), Tokens(torch.randn(2, 9, 4), Side(grid=(3, 3)))
    assert pooling.width == 5
    torch.testing.assert_close(pooling(tokens).x, pooling.behind(tokens.x))


def test_packed_and_padded_lattices_are_pooled_each_by_itself():
    pooling, grids = GridPooling(4, cells=2), ((4, 3), (2, 5))
    rows = [torch.randn(1, a * b, 4) for a, b in grids]
    packed = Tokens(torch.cat(rows, 1), Side(grids=grids, cu_seqlens=torch.tensor([0, 12, 22], dtype=torch.int32)))
    alone = [pooling(Tokens(row, Side(grid=grid))).x for row, grid in zip(rows, grids, strict=True)]
    torch.testing.assert_close(pooling(packed).x, torch.cat(alone, 1))
    torch.testing.assert_close(pooling(packed.padded()).x, torch.cat(alone))


def test_a_token_has_an_influence_on_its_box_alone_and_gradients_are_those_of_a_mean():
    x = torch.randn(1, 16, 4, requires_grad=True)
    made: Any = GridPooling(4, cells=2)(Tokens(x, Side(grid=(4, 4)))).x
    (grad,) = torch.autograd.grad(made[:, 0].sum(), x)
    reached = grad.unflatten(1, (4, 4)) != 0
    assert reached[:, :2, :2].all()
    assert reached.sum() == 4 * 4
    assert torch.equal(grad.unflatten(1, (4, 4))[:, :2, :2], torch.full((1, 2, 2, 4), 0.25))


def test_no_cells_are_refused():
    with pytest.raises(ValueError, match="cells must be positive, not 0"):
        GridPooling(4, cells=0)


@pytest.mark.parametrize(
    "side, said",
    [
        ({"grid": (2, 2), "prefix": 2}, "the 2 prefix tokens are off the lattice"),
        ({"grid": (6,)}, r"a lattice of two axes is needed here, not \(6,\)"),
        ({}, "side.grid"),
        ({"grid": (2, 3), "causal": True}, "causal"),
    ],
)
def test_tokens_that_have_no_smaller_lattice_are_refused(side, said):
    with pytest.raises(ValueError, match=said):
        GridPooling(4)(Tokens(torch.randn(1, 6, 4), Side(**side)))
