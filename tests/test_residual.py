"""The residual: its equation, ConvNeXt's block, skipping, and what folds."""

from typing import Any

import pytest
import torch

from unimodal.ffns.hidden_norm import HiddenNorm
from unimodal.ffns.plain import Plain
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.squeeze_excitation import SqueezeExcitation
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.residual import Residual
from unimodal.side import Side

SIDE = Side(grid=(4, 5))
BRANCH = (Part(Depthwise, bias=False), Part(BatchNorm), Part(SqueezeExcitation), Part(HiddenNorm), Part(BatchNorm))


def randomised(dim: int, **options: Any) -> Any:
    block = Residual(dim, **options).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    for name, buffer in block.named_buffers():
        torch.nn.init.uniform_(buffer, 0.3, 2.0) if name.endswith("var") else torch.nn.init.normal_(buffer)
    return block


def x_of(dim: int) -> torch.Tensor:
    return torch.randn(2, 20, dim, dtype=torch.float64)


def test_it_is_the_parts_in_a_row_times_the_scale_beside_the_input():
    block, x = randomised(4, branch=BRANCH, layer_scale=0.5), x_of(4)
    h = x
    for part in block.branch:
        h = part(h, SIDE)
    assert torch.equal(block(x, SIDE), torch.addcmul(x, h, block.scale))
    torch.testing.assert_close(block(x, SIDE), x + block.scale * h, rtol=0, atol=1e-12)


def test_the_scale_starts_at_its_value_or_is_not_there():
    scaled: Any = Residual(3, branch=(Part(Plain),), layer_scale=1e-6)
    assert torch.equal(scaled.scale, torch.full((3,), 1e-6))
    assert Residual(3, branch=(Part(Plain),)).scale is None


def test_a_depthwise_mixer_a_layer_norm_and_a_feed_forward_are_timms_convnext_block():
    theirs = pytest.importorskip("timm.models.convnext").ConvNeXtBlock(8, ls_init_value=0.1).double().eval()
    ours = randomised(8, branch=(Part(Depthwise, kernel=7), Part(LayerNorm), Part(Plain)), layer_scale=0.1)
    names = {"gamma": "scale", "conv_dw.": "branch.0.", "norm.": "branch.1."}
    names |= {"mlp.fc1.": "branch.2.to_hidden.", "mlp.fc2.": "branch.2.to_out."}
    state = ours.state_dict()
    for key in theirs.state_dict():
        old = next(old for old in names if key.startswith(old))
        theirs.state_dict()[key].copy_(state[names[old] + key.removeprefix(old)])
    x = torch.randn(2, 8, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(ours(x.flatten(2).mT, SIDE), theirs(x).flatten(2).mT)


def test_while_training_whole_sequences_skip_the_branch():
    block, x = randomised(3, branch=(Part(Plain),), drop_path=0.5).train(), torch.randn(64, 5, 3, dtype=torch.float64)
    y = block(x)
    skipped = (y == x).flatten(1).all(1)
    assert 10 < int(skipped.sum()) < 54
    torch.testing.assert_close(y[~skipped], (x + 2 * block.branch[0](x))[~skipped])


@pytest.mark.parametrize("prefix", [0, 3])
def test_norms_and_scale_go_into_the_maps_in_front_of_them(prefix):
    block, side = randomised(4, branch=BRANCH, layer_scale=0.5), Side(grid=(4, 5), prefix=prefix)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    deployed, x = block.deployed(), torch.randn(2, 20 + prefix, 4, dtype=torch.float64)
    assert [type(part) for part in deployed.branch] == [Depthwise, SqueezeExcitation, HiddenNorm]
    assert deployed.scale is None
    torch.testing.assert_close(deployed(x, side), block(x, side), rtol=0, atol=1e-11)
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_what_cannot_fold_stays():
    block = randomised(4, branch=(Part(BatchNorm), Part(Depthwise), Part(LayerNorm)), layer_scale=0.5)
    deployed, x = block.deployed(), x_of(4)
    assert [type(part) for part in deployed.branch] == [BatchNorm, Depthwise, LayerNorm]
    assert torch.equal(deployed(x, SIDE), block(x, SIDE))


def test_it_round_trips():
    part = Part(Residual, branch=BRANCH, layer_scale=1e-6, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part


def test_an_empty_branch_is_refused():
    with pytest.raises(ValueError, match="branch must have at least one part"):
        Residual(3, branch=())


def test_a_rate_of_one_is_refused():
    with pytest.raises(ValueError, match="drop_path is a probability below 1, not 1.0"):
        Residual(3, branch=(Part(Plain),), drop_path=1.0)
