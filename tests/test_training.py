"""The training loop: it resumes to the bit, leaves the frozen alone, and refuses what it cannot go on with."""

import json
import os
import signal
import threading

import pytest
import torch
import torch.nn as nn

from unimodal.errors import CheckpointError
from unimodal.training import cosine, fit, shuffled
from unimodal.weights_file import read_weights


class Net(nn.Module):
    """A frozen layer, dropout, running statistics and a trained layer tied to another name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm, self.drop, self.head = nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1)
        self.alias = self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.frozen(x))))


def train(net, folder, *, steps=12, loss=None, rate=1e-2, **settings):
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    order = shuffled(40, 8, 0)
    optimizers = [torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=rate)]
    settings = {"schedule": cosine(), "report_every": 3, **settings}
    loss = loss or (lambda batch: (net(batch) - batch.sum(-1, keepdim=True)).square().mean())
    return fit(net, loss, lambda step: x[order(step)], optimizers, steps=steps, folder=folder, **settings)


def same(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def curve(folder):
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_a_run_that_was_cut_anywhere_ends_with_the_bits_of_one_that_was_not(tmp_path):
    whole = Net()
    train(whole, tmp_path / "whole")
    for stop in (1, 4, 11):
        cut = Net()

        def loss(batch, cut=cut, stop=stop, calls=[0]):  # noqa: B006
            calls[0] += 1
            if calls[0] == stop:
                os.kill(os.getpid(), signal.SIGINT)  # in the middle of a step
            return (cut(batch) - batch.sum(-1, keepdim=True)).square().mean()

        with pytest.raises(KeyboardInterrupt):
            train(cut, tmp_path / f"cut{stop}", loss=loss)
        again = Net()
        train(again, tmp_path / f"cut{stop}")
        assert same(whole, again), f"stopped in step {stop}"
        assert [line["step"] for line in curve(tmp_path / f"cut{stop}")] == [3, 6, 9, 12]


def test_the_handler_of_interrupts_is_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    train(Net(), tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_it_trains_in_other_threads_too(tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(train(Net(), tmp_path)))
    thread.start()
    thread.join()
    assert len(done) == 1


def test_frozen_parameters_stay_to_the_bit_and_are_not_in_the_state(tmp_path):
    net, fresh = Net(), Net()
    train(net, tmp_path)
    assert torch.equal(net.frozen.weight, fresh.frozen.weight)
    assert not torch.equal(net.head.weight, fresh.head.weight)
    assert not any("frozen" in name for name in read_weights(tmp_path / "state.safetensors"))


def test_a_finished_run_is_not_repeated(tmp_path):
    train(Net(), tmp_path)
    again = Net()
    train(again, tmp_path, loss=lambda batch: pytest.fail("a step was made"))
    assert not torch.equal(again.head.weight, Net().head.weight)


def test_lines_of_the_curve_that_were_not_saved_are_told_again_once(tmp_path):
    def crash(progress):
        if progress.step == 6:
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        train(Net(), tmp_path, report=crash)
    train(Net(), tmp_path)
    assert [line["step"] for line in curve(tmp_path)] == [3, 6, 9, 12]


def test_what_is_measured_is_in_the_curve_and_in_the_report_and_without_gradients(tmp_path):
    told = []

    def evaluate():
        assert not torch.is_grad_enabled()
        return {"figure": 7.0}

    train(Net(), tmp_path, report=told.append, evaluate=evaluate, evaluate_every=4)
    assert [(p.step, p.measured) for p in told if p.measured] == [(s, {"figure": 7.0}) for s in (4, 8, 12)]
    assert [line["step"] for line in curve(tmp_path) if "figure" in line] == [4, 8, 12]
    assert told[-1].left_s == 0


@pytest.mark.parametrize("settings", [{"steps": 13}, {"seed": 5}])
def test_a_run_of_another_length_or_seed_is_refused(settings, tmp_path):
    train(Net(), tmp_path)
    with pytest.raises(ValueError, match="choose another folder or remove it"):
        train(Net(), tmp_path, **settings)


def test_a_run_of_another_model_is_refused(tmp_path):
    train(Net(), tmp_path)
    other = nn.Linear(4, 1)
    with pytest.raises(ValueError, match="holds a run of another model"):
        train(other, tmp_path, loss=lambda batch: other(batch).square().mean())


def test_a_damaged_state_is_refused(tmp_path):
    train(Net(), tmp_path)
    (tmp_path / "state.safetensors").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        train(Net(), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path):
    net = Net()
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        train(net, tmp_path, loss=lambda batch: net(batch).mean() * float("nan"))
    assert torch.equal(net.head.weight, Net().head.weight)


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_does_harm(tmp_path):
    net = Net()
    with pytest.raises(FloatingPointError, match="the gradient is not finite at step 0"):
        train(net, tmp_path, loss=lambda batch: (net(batch).mean() * 0).sqrt())
    assert torch.equal(net.head.weight, Net().head.weight)


def test_every_epoch_has_each_item_once_in_its_own_order():
    order = shuffled(10, 5, seed=1)
    epochs = [torch.cat([order(2 * e), order(2 * e + 1)]) for e in range(3)]
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(order(0), epochs[0][:5])


def test_a_batch_of_more_than_all_is_refused():
    with pytest.raises(ValueError, match="a batch of 5 cannot be drawn from 4 items"):
        shuffled(4, 5, seed=0)


def test_the_schedule_rises_to_one_and_falls_to_the_floor():
    factor = cosine(0.1, floor=0.2)
    values = [factor(i / 1000) for i in range(1000)]
    assert values[0] < 0.02
    assert max(values) == pytest.approx(1.0)
    assert values.index(max(values)) == 100
    assert values[-1] == pytest.approx(0.2, abs=1e-4)
    assert values[100:] == sorted(values[100:], reverse=True)
