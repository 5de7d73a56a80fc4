"""Training: a loop that shows progress, can be interrupted anywhere, and resumes to the bit.

A batch is a function of the step alone and torch's random generators are seeded anew at every step, so step k + 1
after a resume is the step k + 1 of an uninterrupted run. An interrupt waits for the end of the step, because a step
that was cut in two could not be repeated (running statistics, half of the parameters). State is kept as safetensors.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from safetensors.torch import save_file
from torch import Tensor

from unimodal.weights_file import read_weights, replace_file

__all__ = ["Progress", "cosine", "fit", "shuffled"]


@dataclass(frozen=True)
class Progress:
    """What a training run tells while it goes on.

    Args:
        step: Steps done.
        steps: Steps to do.
        loss: Mean loss since the last report, in the loss's own unit.
        rate_hz: Steps a second since this process began.
        left_s: Seconds left at this rate.
        measured: What ``evaluate`` returned, if it ran at this step.
    """

    step: int
    steps: int
    loss: float
    rate_hz: float
    left_s: float
    measured: dict[str, float] | None = None

    def __str__(self) -> str:
        words = (
            f"step {self.step}/{self.steps}  loss {self.loss:.4f}  {self.rate_hz:.2f} steps/s  {self.left_s:.0f} s left"
        )
        more = "".join(f"  {name} {value:.4g}" for name, value in (self.measured or {}).items())
        return words + more


def fit(
    model: nn.Module,
    loss: Callable[[Any], Tensor],
    batches: Callable[[int], Any],
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    steps: int,
    folder: Path,
    schedule: Callable[[float], float],
    seed: int = 0,
    clip: float | None = 1.0,
    report: Callable[[Progress], None] = lambda progress: None,
    report_every: int = 50,
    save_every_s: float = 120.0,
    evaluate: Callable[[], dict[str, float]] | None = None,
    evaluate_every: int = 0,
) -> float:
    """Minimise ``loss(batches(step))`` over ``steps`` steps; returns the seconds spent, earlier processes included.

    Ctrl-C (in the main thread) lets the step end, saves, and then raises KeyboardInterrupt; a second one does not wait.

    Args:
        model: Trained in place; parameters that need no gradient stay as they are (bit for bit).
        loss: Maps a batch to a scalar.
        batches: Maps a step to its batch; must not depend on anything else.
        optimizers: Each group's ``lr`` is its peak.
        folder: Holds ``state.safetensors`` and ``curve.jsonl``; a run found there goes on.
        schedule: Maps progress in [0, 1) to a factor on the learning rates.
        clip: Largest norm of the gradient, or None.
        evaluate: Called every ``evaluate_every`` steps and at the end, in eval mode without gradients.

    Raises:
        FloatingPointError: the loss or its gradient is not finite; the state on disk is that of the last save.
        ValueError: the folder holds a run of another length, seed or model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    begun, spent = _resume(model, optimizers, folder, {"steps": steps, "seed": seed})
    _forget_behind(folder / "curve.jsonl", begun)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    start = saved = time.monotonic()
    total, count = 0.0, 0
    step = begun
    with _interrupts() as interrupted:
        while step < steps and not interrupted:
            model.train()
            torch.manual_seed(seed * 1_000_003 + step)
            value = loss(batches(step))
            if not value.isfinite():
                raise FloatingPointError(f"the loss is {value.item()} at step {step}")
            value.backward()
            if clip is not None and not nn.utils.clip_grad_norm_(trained, clip).isfinite():
                raise FloatingPointError(f"the gradient is not finite at step {step}")
            for optimizer, peak in zip(optimizers, peaks, strict=True):
                for group, rate in zip(optimizer.param_groups, peak, strict=True):
                    group["lr"] = rate * schedule(step / steps)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                for group, rate in zip(optimizer.param_groups, peak, strict=True):
                    group["lr"] = rate
            total, count, step = total + value.item(), count + 1, step + 1
            measure = evaluate is not None and (step == steps or (evaluate_every and step % evaluate_every == 0))
            if step % report_every == 0 or step == steps or measure:
                rate = (step - begun) / (time.monotonic() - start)
                measured = _measure(model, evaluate) if measure and evaluate is not None else None
                progress = Progress(step, steps, total / count, rate, (steps - step) / rate, measured)
                total, count = 0.0, 0
                with (folder / "curve.jsonl").open("a") as file:
                    file.write(json.dumps({"step": step, "loss": progress.loss, **(measured or {})}) + "\n")
                report(progress)
            if time.monotonic() - saved > save_every_s:
                _save(model, optimizers, folder, step, spent + time.monotonic() - start, steps, seed)
                saved = time.monotonic()
        spent += time.monotonic() - start
        if step > begun:
            _save(model, optimizers, folder, step, spent, steps, seed)
    model.eval()
    if interrupted and step < steps:
        raise KeyboardInterrupt
    return spent


def cosine(warmup: float = 0.05, floor: float = 0.0) -> Callable[[float], float]:
    """A schedule: linear from 0 over the first ``warmup`` of the run, then half a cosine down to ``floor``."""

    def factor(progress: float) -> float:
        if progress < warmup:
            return (progress + 1e-3) / (warmup + 1e-3)
        phase = torch.tensor((progress - warmup) / (1 - warmup) * torch.pi)
        return floor + (1 - floor) * 0.5 * (1 + torch.cos(phase).item())

    return factor


def shuffled(items: int, batch: int, seed: int) -> Callable[[int], Tensor]:
    """Maps a step to the indices of its batch; every epoch is a fresh permutation, its last short batch dropped.

    Raises:
        ValueError: there are fewer items than a batch needs.
    """
    if not 0 < batch <= items:
        raise ValueError(f"a batch of {batch} cannot be drawn from {items} items")
    held: dict[int, Tensor] = {}

    def indices(step: int) -> Tensor:
        epoch, place = divmod(step, items // batch)
        if epoch not in held:
            held.clear()
            held[epoch] = torch.randperm(items, generator=torch.Generator().manual_seed(seed * 7_919 + epoch))
        return held[epoch][place * batch : (place + 1) * batch]

    return indices


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect interrupts instead of raising them; the second one raises. Only the main thread gets any."""
    caught: list[int] = []

    def note(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)


def _forget_behind(curve: Path, step: int) -> None:
    """Drop the lines of steps that were told and not saved: they will be told again."""
    if not curve.exists():
        return
    lines = [line for line in curve.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    curve.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _measure(model: nn.Module, evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        return evaluate()


def _save(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    folder: Path,
    step: int,
    spent_s: float,
    steps: int,
    seed: int,
) -> None:
    frozen = _frozen(model)
    tensors = {f"model/{k}": v.detach().clone() for k, v in model.state_dict().items() if k not in frozen}
    for i, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:
                    tensors[f"optimizer/{i}/{parameter}/{name}"] = torch.as_tensor(value).detach().clone()
    about = {"step": str(step), "spent_s": str(spent_s), "steps": str(steps), "seed": str(seed)}
    aside = folder / "state.safetensors.part"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside, metadata=about)
    replace_file(aside, folder / "state.safetensors")


def _resume(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], folder: Path, expected: dict[str, int]
) -> tuple[int, float]:
    path = folder / "state.safetensors"
    if not path.exists():
        return 0, 0.0
    from safetensors import safe_open

    tensors = read_weights(path)
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    found = {name: int(about.get(name, -1)) for name in expected}
    if found != expected:
        raise ValueError(f"{folder} holds a run with {found}, not {expected}; choose another folder or remove it")
    weights = {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}
    frozen, own = _frozen(model), model.state_dict()
    given = {k: v for k, v in weights.items() if k not in frozen}
    wanted = {k: v.shape for k, v in own.items() if k not in frozen}
    if wanted != {k: v.shape for k, v in given.items()}:
        raise ValueError(f"{folder} holds a run of another model; choose another folder or remove it")
    model.load_state_dict(given, strict=False)
    for i, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer/{i}/"):
                _, _, parameter, name = key.split("/")
                states.setdefault(int(parameter), {})[name] = value
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(about["step"]), float(about["spent_s"])


def _frozen(model: nn.Module) -> set[str]:
    """Names of parameters that are not trained: they are as they were built, and need no place in the state."""
    return {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
