"""Convolutions over lattices of any layout against loops over cells."""

import torch
import torch.nn as nn

from unimodal.lattice_convolution import convolve_heads, convolve_lattice
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_each_cell_gets_the_weighted_cells_around_it_and_the_prefix_nothing():
    convolution = nn.Conv2d(4, 4, 3, padding=1, groups=4).double()
    x = torch.randn(2, 2 + 6, 4, dtype=torch.float64)
    y = convolve_lattice(convolution, x, Side(grid=(2, 3), prefix=2))
    weight, bias = convolution.weight, convolution.bias
    assert bias is not None
    for b in range(2):
        lattice = x[b, 2:].view(2, 3, 4)
        for row in range(2):
            for column in range(3):
                want = bias.clone()
                for i in range(3):
                    for j in range(3):
                        r, c = row + i - 1, column + j - 1
                        if 0 <= r < 2 and 0 <= c < 3:
                            want = want + weight[:, 0, i, j] * lattice[r, c]
                torch.testing.assert_close(y[b, 2 + 3 * row + column], want, rtol=0, atol=1e-12)
    assert not y[:, :2].any()


def test_nothing_crosses_into_another_sequence_and_padding_has_no_influence():
    convolution, grids = nn.Conv2d(3, 5, 5, padding=2), ((2, 3), (4, 1), (1, 1))
    rows = [torch.randn(1 + r * c, 3) for r, c in grids]
    x = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=7.0)
    tokens = Tokens(x, Side(grids=grids, prefix=1, lengths=torch.tensor([len(row) for row in rows])))
    for batch in (tokens, tokens.packed()):
        several = batch.replace(convolve_lattice(convolution, batch.x, batch.side)).split()
        for row, grid, got in zip(rows, grids, several, strict=True):
            alone = convolve_lattice(convolution, row[None], Side(grid=grid, prefix=1))[0]
            torch.testing.assert_close(got, alone)


def test_every_head_is_convolved_by_itself_with_the_same_filter():
    convolution = nn.Conv2d(4, 4, 3, padding=1, groups=4).double()
    v, side = torch.randn(2, 3, 1 + 6, 4, dtype=torch.float64), Side(grid=(2, 3), prefix=1)
    found = convolve_heads(convolution, v, side)
    for head in range(3):
        alone = convolve_lattice(convolution, v[:, head], side)
        torch.testing.assert_close(found[:, head], alone, rtol=0, atol=1e-14)
