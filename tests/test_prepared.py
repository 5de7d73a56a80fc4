"""Prepared: positions and prefix in front of a core, their limits, every layout, refusals."""

import pytest
import torch

from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.positions.rotary import Rotary
from unimodal.prepared import Prepared
from unimodal.recipes.pre_norm import pre_norm
from unimodal.side import Side
from unimodal.tokens import Tokens

CORE = pre_norm(depth=2, heads=2, hidden=16)
TABLE = Part(Learned, grid=(2, 3))


def test_the_core_reads_the_prefix_and_the_tokens_with_their_positions():
    stage, x = Prepared(8, core=CORE, position=TABLE, prefix=2).eval(), torch.randn(3, 6, 8)
    made = stage(Tokens(x, Side(grid=(2, 3))))
    front = stage.prefix.tokens.expand(3, -1, -1)  # pyright: ignore[reportOptionalMemberAccess]
    wanted = stage.core(Tokens(torch.cat([front, x + stage.position.table], 1), Side(grid=(2, 3), prefix=2)))
    assert torch.equal(made.x, wanted.x)
    assert (made.side.grid, made.side.prefix) == ((2, 3), 2)
    features = stage.features(Tokens(x, Side(grid=(2, 3))), [0, 2])
    assert torch.equal(features[0].x[:, :2], front)
    assert torch.equal(features[1].x, made.x)


def test_without_position_and_prefix_it_is_its_core():
    stage, tokens = Prepared(8, core=CORE).eval(), Tokens(torch.randn(3, 6, 8), Side(grid=(2, 3)))
    assert torch.equal(stage(tokens).x, stage.core(tokens).x)


def test_packed_sequences_get_the_prefix_and_the_positions_of_their_own_lattices():
    stage, grids = Prepared(8, core=CORE, position=TABLE, prefix=1).double().eval(), ((2, 3), (3, 4))
    rows = [torch.randn(1, a * b, 8).double() for a, b in grids]
    ends = torch.tensor([0, 6, 18], dtype=torch.int32)
    packed = stage(Tokens(torch.cat(rows, 1), Side(grids=grids, cu_seqlens=ends)))
    for made, row, grid in zip(packed.split(), rows, grids, strict=True):
        torch.testing.assert_close(made, stage(Tokens(row, Side(grid=grid))).x[0])


def test_a_position_on_heads_is_refused():
    with pytest.raises(ValueError, match="position Rotary acts on heads, not on tokens"):
        Prepared(8, core=CORE, position=Part(Rotary))


def test_a_negative_prefix_is_refused():
    with pytest.raises(ValueError, match="prefix must not be negative, not -1"):
        Prepared(8, core=CORE, prefix=-1)


def test_what_the_parts_refuse_is_refused():
    with pytest.raises(ValueError, match="mask"):
        Prepared(8, core=CORE, prefix=1)(Tokens(torch.randn(1, 6, 8), Side(mask=torch.ones(6, 6, dtype=torch.bool))))
