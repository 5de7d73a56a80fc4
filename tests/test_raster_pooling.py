"""Raster pooling: consecutive tokens by hand, timm's pooled keys, two norms that fold into the maps to the keys."""

from typing import Any

import pytest
import torch
from torch import nn

from unimodal.mixers.full import Full
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.raster_pooling import RasterPooling
from unimodal.reparameterize import reparameterize
from unimodal.residual import Residual
from unimodal.side import Side
from unimodal.tokens import Tokens

POOLED = Part(ReducedKeys, mixer=Part(Full, heads=2), reduce=Part(RasterPooling, cells=4, behind=Part(BatchNorm)))


def randomised(module: Any) -> Any:
    for tensor in module.parameters():
        nn.init.normal_(tensor)
    for name, tensor in module.named_buffers():
        nn.init.uniform_(tensor, 0.5, 2.0) if name.endswith("var") else nn.init.normal_(tensor)
    return module.eval()


def test_cells_follow_one_another_row_by_row_across_the_ends_of_rows():
    x = torch.arange(15.0)[None, :, None]
    made = RasterPooling(1, cells=4)(Tokens(x, Side(grid=(3, 5))))
    assert made.x.flatten().tolist() == [1.5, 5.5, 9.5]
    assert made.side.grid == (3,)


def test_with_a_norm_behind_it_makes_the_keys_of_timms_next_vit():
    nextvit = pytest.importorskip("timm.models.nextvit")
    peer: Any = nextvit.EfficientAttention(64, head_dim=32, sr_ratio=2).double()
    peer.norm.num_batches_tracked = None
    randomised(peer)
    ours, x = POOLED(64).double().eval(), torch.randn(2, 35, 64, dtype=torch.float64)
    for kind in ("weight", "bias"):
        qkv = torch.cat([getattr(layer, kind) for layer in (peer.q, peer.k, peer.v)])
        getattr(ours.mixer.to_qkv, kind).data.copy_(qkv)
    ours.mixer.to_out.load_state_dict(peer.proj.state_dict())
    ours.reduce.behind.load_state_dict(peer.norm.state_dict(), strict=False)
    torch.testing.assert_close(ours(x, Side(grid=(5, 7))), peer(x))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_the_norm_in_front_and_the_norm_of_the_keys_both_fold(dtype, tolerance):
    torch.manual_seed(0)
    block = randomised(Residual(8, branch=(Part(BatchNorm), POOLED)).to(dtype))
    made: Any = reparameterize(block)
    x, side = torch.randn(2, 35, 8, dtype=dtype), Side(grid=(5, 7))
    scale = block(x, side).abs().max()
    torch.testing.assert_close(made(x, side) / scale, block(x, side) / scale, rtol=0, atol=tolerance)
    assert not [m for m in made.modules() if isinstance(m, BatchNorm)]
    again: Any = reparameterize(made)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), made.parameters(), strict=True))
    with pytest.raises(ValueError, match="1 prefix tokens did not pass"):
        made(torch.zeros(1, 5, 8, dtype=dtype), Side(grid=(2, 2), prefix=1))


def test_a_norm_in_front_stays_where_the_keys_are_more_than_averages():
    keys = POOLED.replace(reduce=Part(RasterPooling, cells=4, behind=Part(Residual, branch=(Part(BatchNorm),))))
    block = randomised(Residual(8, branch=(Part(BatchNorm), keys)).double())
    made: Any = reparameterize(block)
    x, side = torch.randn(2, 35, 8, dtype=torch.float64), Side(grid=(5, 7))
    torch.testing.assert_close(made(x, side), block(x, side))
    assert len([m for m in made.modules() if isinstance(m, BatchNorm)]) == 2


def test_tokens_behind_the_last_whole_average_have_no_influence():
    pooling, x = RasterPooling(2, cells=4), torch.randn(1, 15, 2)
    other = x.clone()
    other[:, 12:] += 1.0
    side = Side(grid=(3, 5))
    assert torch.equal(pooling(Tokens(x, side)).x, pooling(Tokens(other, side)).x)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="cells must be positive, not 0"):
        RasterPooling(4, cells=0)
    with pytest.raises(ValueError, match=r"a lattice of at least 4 cells is needed here, not \(1, 3\)"):
        RasterPooling(4, cells=4)(Tokens(torch.zeros(1, 3, 4), Side(grid=(1, 3))))
