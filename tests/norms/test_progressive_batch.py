"""Progressive batch norm against its equation over a schedule, and what it is in use."""

import pytest
import torch
import torch.nn as nn

from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.side import Side
from unimodal.tokens import Tokens


def randomised(dim: int, **settings: int) -> ProgressiveBatchNorm:
    norm = ProgressiveBatchNorm(dim, **settings).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    nn.init.normal_(norm.batch.running_mean)
    nn.init.uniform_(norm.batch.running_var, 0.5, 2.0)
    return norm


@pytest.mark.parametrize("warmup", [0, 2])
def test_training_slides_from_layer_norm_to_batch_norm_with_a_skip(warmup):
    norm = randomised(5, steps=4, warmup=warmup).train()
    layer, batch = nn.LayerNorm(5, eps=1e-5).double(), nn.BatchNorm1d(5).double()
    layer.load_state_dict(norm.layer.state_dict())
    batch.load_state_dict({**norm.batch.state_dict(), "num_batches_tracked": torch.tensor(0)})
    for t in range(warmup + 6):
        share = 1.0 if t < warmup else max(0.0, 1 - (t - warmup) / 4)
        x = torch.randn(2, 7, 5, dtype=torch.float64)
        expected = share * layer(x) + (1 - share) * (batch(x.mT).mT + norm.eta * x)
        torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(norm.batch.running_var, batch.running_var)
    assert norm.state_dict()["step"] == warmup + 6


def test_in_use_it_is_one_factor_and_one_shift_whatever_the_step():
    norm, x = randomised(5, steps=10).eval(), torch.randn(2, 7, 5, dtype=torch.float64)
    factor, shift = norm.affine()
    want = norm(x)
    torch.testing.assert_close(x * factor + shift, want, rtol=0, atol=1e-12)
    norm.step.fill_(10)
    assert torch.equal(norm(x), want)


def test_a_resumed_run_goes_on_where_it_stopped():
    first, x = randomised(4, steps=5).train(), torch.randn(3, 6, 4, dtype=torch.float64)
    for _ in range(2):
        first(x)
    second = ProgressiveBatchNorm(4, steps=5).double().train()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_padding_does_not_count():
    x, lengths, outputs = torch.randn(3, 6, 4), torch.tensor([6, 2, 4]), []
    padding = torch.arange(6) >= lengths[:, None]
    for filling in (0.0, 1e6):
        norm = ProgressiveBatchNorm(4, steps=2).train()
        tokens = Tokens(x.masked_fill(padding[..., None], filling), Side(lengths=lengths))
        norm(tokens.x, tokens.side)
        outputs.append(torch.cat(tokens.replace(norm(tokens.x, tokens.side)).split()))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"warmup": -1}])
def test_a_schedule_without_steps_is_refused(settings):
    with pytest.raises(ValueError, match="steps must be positive"):
        ProgressiveBatchNorm(4, **settings)
