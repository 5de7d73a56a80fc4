"""The short training of the learning benchmarks is AdamW with a warm-up, a cosine and a bound on the gradient."""

import pytest
import torch

from benchmarks.descent import descend
from unimodal.training import cosine


@pytest.mark.parametrize("clip", [0.1, None])
def test_it_is_the_loop_written_out(clip):
    start, wanted = torch.randn(5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    losses = list(
        descend([ours], lambda step: (ours - wanted[step]).square().sum(), steps=6, rate=0.1, warmup=0.3, clip=clip)
    )
    schedule, expected = cosine(0.3), []
    optimizer = torch.optim.AdamW([theirs], weight_decay=0.05)
    for step in range(6):
        value = (theirs - wanted[step]).square().sum()
        expected.append(value.item())
        (theirs.grad,) = torch.autograd.grad(value, theirs)
        if clip is not None:
            theirs.grad *= min(1.0, clip / (float(theirs.grad.norm()) + 1e-6))
        optimizer.param_groups[0]["lr"] = 0.1 * schedule(step / 6)
        optimizer.step()
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(ours, theirs)


def test_a_loss_is_made_when_it_is_asked_for():
    parameter, made = torch.nn.Parameter(torch.ones(())), []

    def loss(step: int) -> torch.Tensor:
        made.append(step)
        return parameter.square()

    run = descend([parameter], loss, steps=3, rate=0.1)
    assert made == []
    next(run)
    assert made == [0]
    assert len(list(run)) == 2
