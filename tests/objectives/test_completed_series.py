"""Missing values of a series from its tokens: the equation in loops, what counts, and what is refused."""

from typing import Any

import pytest
import torch

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.objectives.completed_series import CompletedSeries
from unimodal.part import Part
from unimodal.sample import Batch
from unimodal.tokenizers.time_series import TimeSeries
from unimodal.transformer import Transformer


def model() -> Any:
    torch.manual_seed(0)
    core = Part(Transformer, depth=1, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain)))
    return Model(16, tokenizers={"time_series": Part(TimeSeries, patch=4, stride=2)}, transformer=core).double().eval()


def batch(net: Any, *, gap: slice = slice(9, 14)) -> tuple[Batch, torch.Tensor]:
    rows = torch.randn(3, 14, 2, dtype=torch.float64).numpy()
    holed = rows.copy()
    holed[:, gap] = float("nan")
    tokenizer = net.tokenizer("time_series")
    made = tokenizer.collate([tokenizer.read(row) for row in holed])
    made = Batch(made.modality, made.data.double(), made.records)
    return made, torch.randn(3, 2, 14, dtype=torch.float64)


def test_the_loss_is_the_equation_in_loops():
    net = model()
    objective = CompletedSeries(16, stride=2).double()
    given, values = batch(net)
    tokens = net(given)
    total, count = 0.0, 0
    for b in range(3):
        for c in range(2):
            for step in range(14):
                if step < 9:
                    continue
                z = tokens.x[b, c * tokens.side.grid[1] + step // 2]
                y = (objective.project.weight[step % 2] * z).sum() + objective.project.bias[step % 2]
                total, count = total + float(((y - values[b, c, step]) ** 2).detach()), count + 1
    torch.testing.assert_close(objective(net, given, values).item(), total / count, rtol=1e-12, atol=0)


def test_only_missing_values_count():
    net = model()
    objective = CompletedSeries(16, stride=2).double()
    given, values = batch(net)
    other = values.clone()
    other[..., :9] = 1e6
    assert objective(net, given, values) == objective(net, given, other)


def test_it_learns_to_continue_a_wave():
    torch.manual_seed(1)
    net = model().float().train()
    objective = CompletedSeries(16, stride=2)
    tokenizer = net.tokenizer("time_series")
    time = torch.arange(24.0)
    rows = torch.sin(time[None] / 3 + torch.rand(16, 1) * 6)[..., None].numpy()
    holed = rows.copy()
    holed[:, 20:] = float("nan")
    samples = [tokenizer.read(row) for row in holed]
    given = tokenizer.collate(samples)
    values = torch.stack([tokenizer.read(row).data for row in rows])
    optimizer = torch.optim.Adam([*net.parameters(), *objective.parameters()], lr=1e-2)
    losses = []
    for _ in range(60):
        loss = objective(net, given, values)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]


def test_what_cannot_be_is_refused():
    net = model()
    with pytest.raises(ValueError, match="stride must be positive"):
        CompletedSeries(16, stride=0)
    given, values = batch(net, gap=slice(0, 0))
    with pytest.raises(ValueError, match="no value of the batch is missing"):
        CompletedSeries(16, stride=2).double()(net, given, values)
    given, values = batch(net)
    with pytest.raises(ValueError, match="stride must divide them"):
        CompletedSeries(16, stride=1).double()(net, given, values)
    with pytest.raises(ValueError, match="one size"):
        CompletedSeries(16)(net, Batch("time_series", (values[0], values[1, :, :5])), values)


def test_tokens_that_are_no_channels_over_patches_are_refused():
    net = model()
    net.tokenizers["time_series"] = TimeSeries(16, patch=4, stride=2, channel_independent=True).double()
    given, values = batch(net)
    with pytest.raises(ValueError, match=r"\(channel, patch\)"):
        CompletedSeries(16, stride=2).double()(net, given, values)
