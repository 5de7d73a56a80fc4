"""Training: a loop that shows progress, can be interrupted anywhere, and resumes to the bit.

A batch is a function of the step alone and the random generators are seeded anew at every step, so step k + 1 after a
resume is the step k + 1 of an uninterrupted run. State is kept as safetensors.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file
from torch import Tensor

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
        FloatingPointError: the loss is not finite.
        ValueError: the folder holds a run of another length or seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    begun, spent = _resume(model, optimizers, folder, {"steps": steps, "seed": seed})
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    start = saved = time.monotonic()
    total, count = 0.0, 0
    step = begun
    try:
        while step < steps:
            model.train()
            torch.manual_seed(seed * 1_000_003 + step)
            value = loss(batches(step))
            if not value.isfinite():
                raise FloatingPointError(f"the loss is {value.item()} at step {step}")
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(trained.values(), clip)
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
    except KeyboardInterrupt:
        _save(model, optimizers, folder, step, spent + time.monotonic() - start, steps, seed)
        raise
    spent += time.monotonic() - start
    if step > begun:
        _save(model, optimizers, folder, step, spent, steps, seed)
    model.eval()
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
    tensors = {f"model/{k}": v.detach().contiguous() for k, v in model.state_dict().items()}
    for i, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer/{i}/{parameter}/{name}"] = torch.as_tensor(value).detach().clone().contiguous()
    about = {"step": str(step), "spent_s": str(spent_s), "steps": str(steps), "seed": str(seed)}
    temporary = folder / "state.safetensors.part"
    save_file(tensors, temporary, metadata=about)
    temporary.replace(folder / "state.safetensors")


def _resume(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], folder: Path, expected: dict[str, int]
) -> tuple[int, float]:
    path = folder / "state.safetensors"
    if not path.exists():
        return 0, 0.0
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = file.metadata()
    found = {name: int(about[name]) for name in expected}
    if found != expected:
        raise ValueError(f"{folder} holds a run with {found}, not {expected}; choose another folder or remove it")
    tensors = load_file(path)
    model.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
    for i, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer/{i}/"):
                _, _, parameter, name = key.split("/")
                states.setdefault(int(parameter), {})[name] = value
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(about["step"]), float(about["spent_s"])
