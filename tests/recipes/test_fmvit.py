"""FMViT: folding of the whole network, what the two kinds of bands see, its limit, counts, every size of picture."""

from typing import Any

import pytest
import torch
import torch.nn as nn
from torch.utils.flop_counter import FlopCounterMode

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.average_pooling import AveragePooling
from unimodal.channel_split import ChannelSplit
from unimodal.mixers.convolution import Convolution
from unimodal.mixers.full import Full
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.recipes.fmvit import fmvit
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch
from unimodal.side import Side

# Ours, with a classifier of 1000: parameters while training and in use, multiply-adds in use at 224 px in 1e9.
COUNTED = [
    ("tiny", 14_898_888, 9_290_984, 1.62),
    ("small", 23_401_288, 14_327_592, 2.63),
    ("base", 50_967_544, 30_830_536, 5.59),
]
TOY = {"widths": (16, 32, 48, 64), "depths": (1, 2, 5, 2), "head": 8}


def trained(module: Any) -> Any:
    """As after training: statistics, factors and shifts of any size."""
    torch.manual_seed(0)
    for tensor in module.parameters():
        nn.init.normal_(tensor, std=0.5 if tensor.ndim == 1 else 0.6 * tensor[0].numel() ** -0.5)
    for name, tensor in module.named_buffers():
        if name.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 2.0)
        elif name.endswith("running_mean"):
            nn.init.normal_(tensor, std=0.5)
    return module.eval()


def toy(**options: Any) -> Any:
    return trained(fmvit(**{**TOY, "classes": 5, **options})())


def pictures(*sizes: int, dtype: torch.dtype = torch.float32) -> Batch:
    return Batch("image", torch.randn(2, 3, *sizes, dtype=dtype))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_in_use_every_sum_is_one_map_and_no_norm_but_the_readouts_is_left(dtype, tolerance):
    model, batch = toy().to(dtype), pictures(65, 98, dtype=dtype)
    made: Any = reparameterize(model)
    pairs = zip(model.features(batch, [1, 2, 3, 4]), made.features(batch, [1, 2, 3, 4]), strict=True)
    for ours, theirs in ((model.embed(batch), made.embed(batch)), *((a.x, b.x) for a, b in pairs)):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=tolerance * ours.abs().max().item())
    assert torch.equal(model.embed(batch).argmax(1), made.embed(batch).argmax(1))
    assert [name for name, m in made.named_modules() if isinstance(m, BatchNorm)] == ["readout.chain.parts.0"]


def test_in_use_a_block_is_as_many_maps_as_its_plain_graph():
    made: Any = reparameterize(toy())
    kinds = (nn.Linear, Convolution)
    fusion, mixing = made.transformer.stages[1].blocks
    assert [type(m) for m in fusion.modules() if isinstance(m, kinds)] == [Convolution, *(nn.Linear,) * 3]
    maps = [type(m) for m in mixing.modules() if isinstance(m, kinds)]
    assert maps == [nn.Linear, nn.Linear, Convolution, Convolution, *(nn.Linear,) * 3]
    assert [type(m) for m in mixing.modules() if isinstance(m, Full | ReducedKeys)] == [ReducedKeys, Full]


def test_a_second_folding_changes_nothing_and_one_in_training_is_refused():
    made = reparameterize(toy())
    first, second = made.state_dict(), reparameterize(made).state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ValueError, match="the model is in training mode"):
        reparameterize(toy().train())


@pytest.mark.parametrize("size, training, use, billions", COUNTED)
def test_sizes_have_fewer_parameters_in_use(size, training, use, billions):
    with torch.device("meta"):
        model: Any = fmvit(size, classes=1000)().eval()
        assert sum(p.numel() for p in model.parameters()) == training
        made: Any = reparameterize(model)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            made.embed(Batch("image", torch.zeros(1, 3, 224, 224)))
    assert sum(p.numel() for p in made.parameters()) == use < training
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.01)


def test_averaged_keys_are_blind_to_what_alternates_and_convolutions_see_it_as_they_see_a_constant():
    constant = torch.ones(1, 256, 64)
    board = ((torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1.0).flatten()[None, :, None] * constant
    side = Side(grid=(16, 16))
    low = ReducedKeys(64, mixer=Part(Full, heads=2, bias=False), reduce=Part(AveragePooling)).eval()
    nn.init.zeros_(low.mixer.to_out.bias)
    with torch.no_grad():
        assert low(board, side).norm() < 0.1 * low(constant, side).norm()
        responses = []
        for seed in range(8):
            torch.manual_seed(seed)
            high = Convolution(64, groups=2, bias=False)
            inner = high(torch.cat([board, constant]), side).unflatten(1, (16, 16))[:, 1:-1, 1:-1]
            responses.append(inner.flatten(1).norm(dim=1))
            high.weight.sub_(high.weight.mean((2, 3), keepdim=True))
            inner = high(torch.cat([board, constant]), side).unflatten(1, (16, 16))[:, 1:-1, 1:-1]
            assert inner[1].norm() < 1e-4 * inner[0].norm()
        on_board, on_constant = torch.stack(responses).mean(0)
    assert on_board / on_constant == pytest.approx(1.0, abs=0.1)


def test_with_one_branch_everywhere_a_fusion_block_is_timms_next_convolution_block():
    nextvit = pytest.importorskip("timm.models.nextvit")
    peer = trained(nextvit.NextConvBlock(64, 64)).double()
    options = {"widths": (64, 64, 64, 64), "depths": (1, 1, 5, 1), "groups": (1,), "identity": False}
    ours: Any = fmvit(**options)().double().eval().transformer.stages[0].blocks[0]
    for norm in ours.modules():
        if isinstance(norm, BatchNorm):
            norm.running_var.fill_(1.0 - norm.eps)
    mixed, fed = (part.branch for part in ours.parts)
    pairs = {
        mixed[0].parts[0]: (peer.mhca.group_conv3x3, peer.mhca.norm),
        mixed[1]: (peer.mhca.projection, None),
        fed[1].parts[0]: (peer.mlp.fc1, None),
        fed[1].parts[2]: (peer.mlp.fc2, None),
    }
    for mine, (layer, norm) in pairs.items():
        mine.convolutions[0].weight.data.copy_(layer.weight)
        if norm is not None:
            mine.norms[0].load_state_dict(norm.state_dict(), strict=False)
        elif layer.bias is not None:
            mine.norms[0].bias.data.copy_(layer.bias)
    fed[0].load_state_dict(peer.norm.state_dict(), strict=False)
    x = torch.randn(2, 35, 64, dtype=torch.float64)
    expected = peer(x.mT.unflatten(-1, (5, 7))).flatten(2).mT
    torch.testing.assert_close(ours(x, Side(grid=(5, 7))), expected, rtol=0, atol=1e-10 * expected.abs().max().item())


def test_bands_are_attention_to_averages_and_convolutions_of_several_reaches():
    split = next(m for m in toy().modules() if isinstance(m, ChannelSplit))
    low, *bands = split.parts
    assert isinstance(low.parts[-1].mixer.attention, SoftmaxAttention)  # pyright: ignore
    assert [band.parts[0].kernel for band in bands] == [3, 5]  # pyright: ignore
    assert split.widths == (16, 8, 8)


@pytest.mark.parametrize("sizes", [(64, 64), (65, 98), (5, 9)])
def test_features_of_any_picture_have_the_strides_4_8_16_32_rounded_up(sizes):
    features = toy().features(pictures(*sizes), [1, 2, 3, 4])
    for tokens, stride, width in zip(features, (4, 8, 16, 32), (16, 32, 48, 64), strict=True):
        assert tokens.side.grid == tuple(-(-n // stride) for n in sizes)
        assert tokens.x.shape == (2, tokens.side.grid[0] * tokens.side.grid[1], width)


def test_gradients_reach_every_parameter():
    model = toy(drop_path=0.1).train()
    model.embed(pictures(64, 64)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_it_round_trips():
    part = fmvit("base", classes=10, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"size": "huge"}, "size must be one of tiny, small, base, not 'huge'"),
        ({"image": 30}, "image must be a multiple of 4 px, not 30"),
        ({"depths": (1, 2, 4, 2)}, "the third stage has blocks in fives, not 4"),
    ],
)
def test_what_does_not_fit_is_refused(options, cause):
    with pytest.raises(ValueError, match=cause):
        fmvit(**options)
