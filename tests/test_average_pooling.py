"""Average pooling: boxes in loops, constants and checkerboards, odd lattices, timm's embedding, its form for use."""

from typing import Any

import pytest
import torch
from torch import nn

from unimodal.average_pooling import AveragePooling
from unimodal.chain import Chain
from unimodal.ffns.linear import Linear
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.reparameterize import reparameterize
from unimodal.side import Side
from unimodal.tokens import Tokens

EMBEDDING = Part(AveragePooling, behind=Part(Chain, parts=(Part(Linear, width=6, bias=False), Part(BatchNorm))))


@pytest.mark.parametrize("rows, columns", [(4, 6), (5, 7), (1, 3)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_it_is_the_mean_of_the_cells_of_each_box(rows, columns, stride):
    x = torch.randn(2, rows * columns, 4, dtype=torch.float64)
    made, cells = (
        AveragePooling(4, stride=stride)(Tokens(x, Side(grid=(rows, columns)))),
        x.unflatten(1, (rows, columns)),
    )
    assert made.side.grid == (-(-rows // stride), -(-columns // stride))
    for n, (i, j) in enumerate((i, j) for i in range(0, rows, stride) for j in range(0, columns, stride)):
        torch.testing.assert_close(made.x[:, n], cells[:, i : i + stride, j : j + stride].mean((1, 2)))


def test_a_constant_stays_and_what_alternates_from_cell_to_cell_is_gone():
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1.0).flatten()[None, :, None]
    for stride in (2, 4):
        pooling = AveragePooling(1, stride=stride)
        assert torch.equal(
            pooling(Tokens(torch.full((1, 64, 1), 3.0), Side(grid=(8, 8)))).x.unique(), torch.tensor([3.0])
        )
        assert pooling(Tokens(board, Side(grid=(8, 8)))).x.abs().max() == 0


def test_with_a_map_and_a_norm_behind_it_is_the_embedding_of_timms_next_vit():
    nextvit = pytest.importorskip("timm.models.nextvit")
    peer, ours = nextvit.PatchEmbed(4, 6, stride=2).double().eval(), EMBEDDING(4).double().eval()
    for tensor in (*peer.conv.parameters(), *peer.norm.parameters(), peer.norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(peer.norm.running_var, 0.5, 2.0)
    ours.behind.parts[0].project.weight.data.copy_(peer.conv.weight.flatten(1))
    ours.behind.parts[1].load_state_dict({n: t for n, t in peer.norm.state_dict().items() if "num" not in n})
    x, side = torch.randn(2, 35, 4, dtype=torch.float64), Side(grid=(5, 7))
    expected = peer(x.mT.unflatten(-1, (5, 7))).flatten(2).mT
    torch.testing.assert_close(ours(Tokens(x, side)).x, expected)
    folded: Any = reparameterize(ours)
    torch.testing.assert_close(folded(Tokens(x, side)).x, expected, rtol=0, atol=1e-10)
    assert not [m for m in folded.modules() if isinstance(m, BatchNorm)]


def test_packed_lattices_get_what_they_get_alone():
    pooling, parts = AveragePooling(4), [(torch.randn(n * m, 4), (n, m)) for n, m in ((3, 5), (4, 4))]
    ends = torch.tensor([0, 15, 31], dtype=torch.int32)
    side = Side(grids=tuple(grid for _, grid in parts), cu_seqlens=ends)
    made = pooling(Tokens(torch.cat([x for x, _ in parts])[None], side))
    for row, (x, grid) in zip(made.split(), parts, strict=True):
        torch.testing.assert_close(row, pooling(Tokens(x[None], Side(grid=grid))).x[0])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="stride must be positive, not 0"):
        AveragePooling(4, stride=0)
    with pytest.raises(ValueError, match="a lattice of two axes is needed"):
        AveragePooling(4)(Tokens(torch.zeros(1, 8, 4), Side(grid=(2, 2, 2))))
    with pytest.raises(ValueError, match="prefix tokens are off the lattice"):
        AveragePooling(4)(Tokens(torch.zeros(1, 5, 4), Side(grid=(2, 2), prefix=1)))
