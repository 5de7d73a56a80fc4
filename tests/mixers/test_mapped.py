"""Mapped attention: full attention on the same maps, folded keys and norms, the cost of pooled keys, timm's own."""

from typing import Any

import pytest
import torch
import torch.nn as nn
from torch.utils.flop_counter import FlopCounterMode

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.average_pooling import AveragePooling
from unimodal.ffns.linear import Linear
from unimodal.mixers.full import Full
from unimodal.mixers.mapped import Mapped
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.raster_pooling import RasterPooling
from unimodal.reparameterize import reparameterize
from unimodal.residual import Residual
from unimodal.side import Side
from unimodal.tokens import Tokens


def trained(module: Any) -> Any:
    """With statistics, factors and shifts of any size."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    for name, buffer in module.named_buffers():
        nn.init.uniform_(buffer, 0.5, 2.0) if name.endswith("var") else nn.init.normal_(buffer)
    return module.eval()


@pytest.mark.parametrize("head_width", [None, 2])
def test_in_use_it_is_full_attention(head_width):
    mixer, x = trained(Mapped(8, heads=2, head_width=head_width).double()), torch.randn(2, 7, 8, dtype=torch.float64)
    made: Any = reparameterize(mixer)
    assert isinstance(made, Full)
    sides = (Side(), Side(lengths=torch.tensor([7, 4])), Side(memory=Tokens(torch.randn(2, 3, 8).double())))
    for side in sides:
        torch.testing.assert_close(made(x, side)[:, :4], mixer(x, side)[:, :4], rtol=0, atol=1e-10)


def test_maps_that_are_not_linear_in_use_stay():
    mixer: Any = Mapped(8, heads=2, project=Part(Linear, bias=False)).eval()
    assert mixer.deployed() is mixer


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_with_pooled_keys_and_norms_on_both_sides_it_folds_to_plain_maps(dtype, tolerance):
    mixer = Part(Mapped, heads=2, head_width=2)
    pooled = Part(ReducedKeys, mixer=mixer, reduce=Part(AveragePooling, behind=Part(BatchNorm)))
    block = trained(Residual(8, branch=(Part(BatchNorm), pooled, Part(BatchNorm))).to(dtype))
    made: Any = reparameterize(block)
    x, side = torch.randn(2, 35, 8, dtype=dtype), Side(grid=(5, 7))
    wanted = block(x, side)
    torch.testing.assert_close(made(x, side), wanted, rtol=0, atol=tolerance * wanted.abs().max().item())
    assert [type(m) for m in made.modules() if isinstance(m, nn.Linear | BatchNorm)][:2] == [nn.Linear, nn.Linear]


@pytest.mark.parametrize("stride", [2, 4])
def test_scores_cost_the_square_of_the_stride_less_than_those_of_all_keys(stride):
    x, side, counts = torch.randn(1, 64, 8), Side(grid=(8, 8)), []
    keys = AveragePooling(8, stride=stride)(Tokens(x, side)).x
    assert keys.shape[1] == 64 // stride**2
    for m in (x, keys):
        q, k, v = (t.to("meta").unflatten(-1, (2, -1)).transpose(1, 2) for t in (x, m, m))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            SoftmaxAttention()(q, k, v)
        counts.append(counter.get_total_flops())
    assert counts[1] / counts[0] == pytest.approx(1 / stride**2, rel=0.02)


def test_without_further_branches_and_with_raster_keys_it_is_timms_attention():
    nextvit = pytest.importorskip("timm.models.nextvit")
    peer = nextvit.EfficientAttention(64, head_dim=32, sr_ratio=2).double()
    peer.norm.num_batches_tracked = None
    trained(peer)
    reduce = Part(RasterPooling, cells=4, behind=Part(BatchNorm))
    ours: Any = ReducedKeys(64, mixer=Part(Mapped, heads=2, project=Part(Linear)), reduce=reduce).double().eval()
    for mine, theirs in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out", "proj")):
        getattr(ours.mixer, mine).project.load_state_dict(getattr(peer, theirs).state_dict())
    ours.reduce.behind.load_state_dict(peer.norm.state_dict(), strict=False)
    x, side = torch.randn(2, 35, 64, dtype=torch.float64), Side(grid=(5, 7))
    torch.testing.assert_close(ours(x, side), peer(x))
    torch.testing.assert_close(reparameterize(ours)(x, side), peer(x))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="dim 8 is not a multiple of heads 3; give head_width"):
        Mapped(8, heads=3)
    with pytest.raises(ValueError, match="causal"):
        Mapped(8, heads=2)(torch.zeros(1, 3, 8), Side(causal=True))
