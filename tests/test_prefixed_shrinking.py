"""Prefixed shrinking: lattice, prefix and scores each by its own rule, every layout, refusals."""

from typing import Any

import pytest
import torch

from unimodal.downsampling import Downsampling
from unimodal.part import Part
from unimodal.prefixed_shrinking import PrefixedShrinking
from unimodal.side import Side
from unimodal.tokens import Tokens

PATCHES = Part(Downsampling, width=5, kernel=2, padding=0)


def of(shrink: Part = PATCHES) -> Any:
    made = PrefixedShrinking(3, shrink=shrink).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def tokens_on(*grid: int, rows: int = 2) -> Tokens:
    n = 2 + grid[0] * grid[1]
    side = Side(grid=grid, prefix=2, score=torch.rand(rows, n, dtype=torch.float64))
    return Tokens(torch.randn(rows, n, 3, dtype=torch.float64), side)


@pytest.mark.parametrize("grid", [(4, 6), (5, 7), (2, 3)])
def test_the_lattice_shrinks_the_prefix_is_mapped_and_scores_are_averaged(grid):
    between, tokens = of(), tokens_on(*grid)
    made, rows, columns = between(tokens), grid[0] // 2, grid[1] // 2
    assert (made.side.grid, made.side.prefix, between.width, between.stride) == ((rows, columns), 2, 5, 2)
    shrunk = between.shrink(Tokens(tokens.x[:, 2:], Side(grid=grid)))
    assert torch.equal(made.x[:, 2:], shrunk.x)
    weight, bias = between.to_prefix.weight, between.to_prefix.bias
    torch.testing.assert_close(made.x[:, :2], tokens.x[:, :2] @ weight.T + bias)
    assert not made.side.score[:, :2].any()
    assert tokens.side.score is not None
    for old, new in zip(tokens.side.score[:, 2:].unflatten(1, grid), made.side.score[:, 2:], strict=True):
        means = [
            (old[2 * y, 2 * x] + old[2 * y, 2 * x + 1] + old[2 * y + 1, 2 * x] + old[2 * y + 1, 2 * x + 1]) / 4
            for y in range(rows)
            for x in range(columns)
        ]
        torch.testing.assert_close(new, torch.stack(means) * old.sum() / sum(means))


def test_without_scores_there_are_none():
    tokens = tokens_on(4, 4).replace(score=None)
    assert of()(tokens).side.score is None


def test_sequences_of_several_lattices_give_what_each_gives_alone():
    between, grids = of(), ((2, 6), (3, 4), (5, 4))
    rows = [tokens_on(*grid, rows=1) for grid in grids]
    ends = torch.tensor([0, 14, 28, 50], dtype=torch.int32)
    score = torch.cat([row.side.score for row in rows], 1)  # pyright: ignore
    packed = Tokens(torch.cat([row.x for row in rows], 1), Side(grids=grids, prefix=2, cu_seqlens=ends, score=score))
    together, padded = between(packed), between(packed.padded())
    for i, row in enumerate(rows):
        alone = between(row)
        torch.testing.assert_close(together.split()[i], alone.x[0])
        torch.testing.assert_close(padded.split()[i], alone.x[0])
        first, last = together.side.cu_seqlens.tolist()[i : i + 2]
        torch.testing.assert_close(together.side.score[:, first:last], alone.side.score)
    assert together.side.grids == ((1, 3), (1, 2), (2, 2))


def test_tokens_without_a_prefix_are_refused():
    with pytest.raises(ValueError, match="no prefix that could go around the lattice"):
        of()(Tokens(torch.randn(1, 4, 3, dtype=torch.float64), Side(grid=(2, 2))))


def test_scores_beside_cells_that_are_no_whole_boxes_are_refused():
    between = of(Part(Downsampling, width=5))
    assert between(tokens_on(4, 4)).side.grid == (2, 2)
    with pytest.raises(ValueError, match="scores are of whole 2 x 2 cells, and the tokens are not"):
        between(tokens_on(5, 4))


def test_what_the_part_refuses_is_refused():
    with pytest.raises(ValueError, match="no smaller than the kernel"):
        of()(tokens_on(1, 4))
