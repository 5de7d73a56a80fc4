"""iTransformer: published sizes, its equations in plain torch, and the invariances that follow from them."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.instance_scale import instance_scale
from unimodal.part import Part
from unimodal.recipes.itransformer import itransformer
from unimodal.sample import Batch


def forecast(model, head, past_BLC, stamps_BLM=None):
    """The published forward pass on our model: scale, tokens, core, linear map, scale back."""
    past_BCL = past_BLC.mT
    mean, scale = instance_scale(past_BCL)
    rows = [(past_BCL - mean) / scale] + ([] if stamps_BLM is None else [stamps_BLM.mT])
    tokens = model(Batch("variates", torch.cat(rows, 1)))
    return (head(tokens.x[:, : past_BCL.shape[1]]) * scale + mean).mT


def oracle(model, head, past_BLC, stamps_BLM):
    """The equations of the published model in plain torch, on the same weights."""
    w = model.state_dict()
    mean = past_BLC.mean(1, keepdim=True)
    sigma = torch.sqrt(past_BLC.var(1, keepdim=True, unbiased=False) + 1e-5)
    x = torch.cat([(past_BLC - mean) / sigma, stamps_BLM], 2).transpose(1, 2)
    x = F.linear(x, w["tokenizers.variates.embed.weight"], w["tokenizers.variates.embed.bias"])
    heads = model.transformer.blocks[0].mixer.mixer.heads
    for i in range(model.transformer.depth):
        b = f"transformer.blocks.{i}."
        q, k, v = (
            (x @ weight.T + bias).unflatten(-1, (heads, -1)).transpose(1, 2)
            for weight, bias in zip(
                w[b + "mixer.mixer.to_qkv.weight"].chunk(3), w[b + "mixer.mixer.to_qkv.bias"].chunk(3), strict=True
            )
        )
        attended = (torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v).transpose(1, 2).flatten(2)
        attended = F.linear(attended, w[b + "mixer.mixer.to_out.weight"], w[b + "mixer.mixer.to_out.bias"])
        x = _norm(x + attended, w, b + "norm_mixer")
        fed = F.gelu(F.linear(x, w[b + "ffn.to_hidden.weight"], w[b + "ffn.to_hidden.bias"]))
        x = _norm(x + F.linear(fed, w[b + "ffn.to_out.weight"], w[b + "ffn.to_out.bias"]), w, b + "norm_ffn")
    x = _norm(x, w, "transformer.norm")
    out = head(x)[:, : past_BLC.shape[2]].transpose(1, 2)
    return out * sigma + mean


def _norm(x, w, name):
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5) * w[name + ".weight"] + w[name + ".bias"]
    )


@pytest.fixture
def model():
    model = itransformer(dim=32, depth=2, heads=4, lookback=24)().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model


@pytest.mark.parametrize(
    ("sizes", "horizon", "count"),
    [
        ({"dim": 256, "depth": 2}, 96, 841_568),  # ETTh1
        ({"dim": 512, "depth": 3}, 96, 4_833_888),  # Weather
        ({"dim": 512, "depth": 4}, 96, 6_411_872),  # Traffic
    ],
)
def test_the_parameters_are_as_many_as_in_the_published_model(sizes, horizon, count):
    with torch.device("meta"):
        model = itransformer(**sizes)()
    head = (sizes["dim"] + 1) * horizon
    assert sum(p.numel() for p in model.parameters()) + head == count


def test_it_equals_the_published_equations(model):
    head, past, stamps = torch.nn.Linear(32, 12), torch.randn(3, 24, 5) * 4 + 10, torch.rand(3, 24, 4) - 0.5
    found = forecast(model.double(), head.double(), past.double(), stamps.double())
    torch.testing.assert_close(found, oracle(model, head, past.double(), stamps.double()), rtol=0, atol=1e-10)


def test_permuted_columns_give_permuted_forecasts(model):
    head, past, order = torch.nn.Linear(32, 12), torch.randn(2, 24, 6), torch.tensor([3, 0, 5, 1, 4, 2])
    one, other = forecast(model, head, past)[..., order], forecast(model, head, past[..., order])
    torch.testing.assert_close(other, one, rtol=0, atol=2e-6)


def test_an_affine_map_of_a_column_is_that_of_its_forecast(model):
    head, past = torch.nn.Linear(32, 12), torch.randn(2, 24, 6)
    a, b = torch.tensor([1.0, 2.0, 5.0, 1.0, 3.0, 1.5]), torch.tensor([0.0, 7.0, -3.0, 1.0, 0.0, 100.0])
    one, other = forecast(model, head, past) * a + b, forecast(model, head, past * a + b)
    # sigma^2 + 1e-5 is not a^2 times itself: a relative gap of 1e-5 / (2 sigma^2), and float32 beside the level
    torch.testing.assert_close(other, one, rtol=1e-4, atol=2e-4)


def test_the_same_weights_read_another_number_of_columns_and_each_has_a_say(model):
    head, past = torch.nn.Linear(32, 12), torch.randn(1, 24, 21)
    whole = forecast(model, head, past)
    assert whole.shape == (1, 12, 21)
    changed = past.clone()
    changed[..., 20] = changed[..., 20].flip(1)
    assert not torch.equal(forecast(model, head, changed)[..., :20], whole[..., :20])


def test_another_attention_rule_and_width_of_the_feed_forward_can_be_had():
    model = itransformer(dim=16, heads=2, hidden=40, attention=Part(SoftmaxAttention), lookback=24)()
    assert isinstance(model.transformer.blocks[0].mixer.mixer.attention, SoftmaxAttention)
    assert model.transformer.blocks[0].ffn.to_hidden.weight.shape == (40, 16)


def test_dropout_is_where_the_published_model_has_it(model):
    batch = Batch("variates", torch.randn(2, 5, 24))
    assert torch.equal(model(batch).x, model(batch).x)
    still = itransformer(dim=32, depth=2, heads=4, lookback=24, rate=0.0)().train()
    assert torch.equal(still(batch).x, still(batch).x)
    for place in ("tokenizers.variates", "transformer.blocks.0.mixer", "transformer.blocks.0.mixer.mixer.attention",
                  "transformer.blocks.0.ffn"):  # fmt: skip
        still.get_submodule(place).rate = 0.5
        assert not torch.equal(still(batch).x, still(batch).x), place
        still.get_submodule(place).rate = 0.0


def learned(model, head, draw, steps, rate):
    """Train on fresh windows; ``draw`` gives past and future, (B, C, L) and (B, C, S)."""
    modules = torch.nn.ModuleList([head] if model is None else [model, head])
    optimizer = torch.optim.Adam(modules.parameters(), lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        past, future = draw(128)
        optimizer.zero_grad()
        (predicted(model, head, past) - future).square().mean().backward()
        optimizer.step()


def predicted(model, head, past_BCL):
    if model is not None:
        return forecast(model, head, past_BCL.mT).mT
    mean, scale = instance_scale(past_BCL)
    return head((past_BCL - mean) / scale) * scale + mean


@pytest.mark.slow
def test_a_column_that_follows_another_is_forecast_from_it_as_no_linear_map_of_itself_can():
    generator = torch.Generator().manual_seed(1)

    def draw(count):
        """A driven oscillation, and the same 8 steps later on a ramp that tells which is which."""
        driven = torch.randn(count, 80, generator=generator)
        for t in range(2, 80):
            driven[:, t] += 1.6 * driven[:, t - 1] - 0.8 * driven[:, t - 2]
        first = driven[:, 40:] / 3
        both = torch.stack([first[:, 8:40], first[:, :32] + torch.arange(32) / 4], 1)
        return both.split([24, 8], -1)

    errors = []
    for model in (None, itransformer(dim=48, depth=2, heads=4, lookback=24, rate=0.0)()):
        head = torch.nn.Linear(24 if model is None else 48, 8)
        learned(model, head, draw, 300, 1e-2 if model is None else 3e-3)
        past, future = draw(1000)
        with torch.no_grad():
            errors.append((predicted(model, head, past) - future).square().mean((0, 2)).tolist())
    (linear_first, linear_second), (first, second) = errors
    assert second < 0.3 * linear_second
    assert first < 1.1 * linear_first


@pytest.mark.slow
def test_columns_it_was_not_trained_on_are_forecast_nearly_as_well():
    """A hundred columns mix the same day and week in shares of their own, as meters of one grid do; 20 are learned."""
    generator = torch.Generator().manual_seed(2)
    share = torch.randn(100, 2, 1, generator=generator)
    period = torch.tensor([[12.0], [7.0]])

    def draw(count, columns=slice(None)):
        moment = torch.arange(32) + 100 * torch.rand(count, 1, 1, 1, generator=generator)
        waves = (share * torch.sin(2 * torch.pi * moment / period)).sum(2)
        waves = waves / share.square().sum(1).sqrt() + 0.1 * torch.randn(count, 100, 32, generator=generator)
        return waves[:, columns].split([24, 8], -1)

    model, head = itransformer(dim=48, depth=2, heads=4, lookback=24, rate=0.0)(), torch.nn.Linear(48, 8)
    learned(model, head, lambda count: draw(32, slice(20)), 300, 3e-3)
    past, future = draw(100)
    with torch.no_grad():
        error = (predicted(model, head, past) - future).square().mean((0, 2))
    assert error[20:].mean() < 1.3 * error[:20].mean()
