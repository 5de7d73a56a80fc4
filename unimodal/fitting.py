"""Fitting: a task's parameters learned on a labelled data set, on a frozen encoder or along with it."""

import datetime
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unimodal.catalog import catalog
from unimodal.errors import InputError
from unimodal.from_recipe import from_recipe
from unimodal.inference.evaluation import measure
from unimodal.provenance import Provenance
from unimodal.sample import Sample
from unimodal.task import save_task
from unimodal.task_checkpoint import own_encoder, shared_encoder
from unimodal.training import Progress, cosine, fit, shuffled
from unimodal.weights_file import weights_digest

__all__ = ["fit_task"]

_CACHE_BYTES = 512_000_000
_GLANCE = 256


def fit_task(
    name: str,
    data: str | Path,
    out: str | Path,
    *,
    encoder: str | None = None,
    options: Mapping[str, Any] | None = None,
    steps: int = 500,
    batch: int = 64,
    rate: float = 3e-3,
    seed: int = 0,
    validation: str | Path | None = None,
    device: str = "cpu",
    workers: int = 2,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train the task called ``name``; returns its card. Called again after an interrupt, it goes on.

    AdamW with a cosine schedule over what is not the encoder's; with an encoder ``recipe:NAME``, whose weights are
    random, or the option ``whole`` of a task that has it, over the encoder's too. A sample that cannot be read is
    replaced by the next one that can, and is named on the card.

    Args:
        data: A data set as the task's ``labelled`` takes it.
        out: Gets the task checkpoint, ``curve.jsonl`` and the state to go on from.
        encoder: What :func:`unimodal.load` takes, or ``recipe:NAME[/SIZE][,SETTING=VALUE ...]`` for one from scratch;
            None means the task's own.
        options: For the task's ``build``; what is not given comes from its ``options_from(data)``, if it has one.
        batch: Samples a step (all of them if there are fewer).
        rate: Peak learning rate.
        validation: A data set to measure on, at the end and, 256 samples of it, at five points on the way.

    Raises:
        InputError: there is no data set at ``data`` or ``validation``, or no sample of it can be read.
        ValueError: ``out`` holds a run with other settings, the task has nothing to train or cannot be built with
            ``options``, its encoder is random and cannot be trained along, or a number is not positive.
        UnknownNameError, CheckpointError: no such task or recipe, no usable encoder.
        FloatingPointError: the loss is not finite.
    """
    if min(steps, batch, rate) <= 0:
        raise ValueError(f"steps, batch and rate must be positive, not {steps}, {batch} and {rate}")
    task_class: Any = catalog("tasks")[name]
    spec = _settled(encoder or task_class.encoder)
    if spec.startswith("recipe:"):
        from_recipe(spec)  # a wrong name is told before the data are looked at
    data, out = Path(data), Path(out)
    found = task_class.options_from(data) if hasattr(task_class, "options_from") else {}
    torch.manual_seed(seed)
    settings = {**found, **(options or {})}
    settings |= {"whole": True} if _is_whole(task_class, spec, settings) else {}
    part, built_on = own_encoder(spec) if settings.get("whole") else (None, shared_encoder(spec, device))
    began = Provenance.of(built_on).to_json()["statuses"]
    try:
        module = task_class.build(built_on, **settings).to(device)
    except TypeError as error:
        told = ", ".join(f"{key} = {value!r}" for key, value in settings.items())
        raise ValueError(f"the task {name!r} cannot be built with {told}: {error}") from error
    built_on.requires_grad_(part is not None)
    module.__dict__["encoder_part"] = part
    task = task_class(module)
    task.encoder = spec
    pairs = task.labelled(data)
    checked = task.labelled(Path(validation)) if validation is not None else []
    own = [p for p in module.parameters() if p.requires_grad]
    if not own:
        raise ValueError(f"the task {name!r} has no parameters of its own to train")
    about = {"task": name, "data": str(data), "samples": len(pairs), "encoder": spec}
    about |= {"options": module.options, "steps": steps, "batch": min(batch, len(pairs)), "rate": rate, "seed": seed}
    _require_same(out, {**about, "encoder_digest": weights_digest(built_on.state_dict())})
    reader = _Reader(task, pairs, workers)
    draw = shuffled(len(pairs), about["batch"], seed)
    glance = checked[:: max(1, len(checked) // _GLANCE)]
    try:
        spent_s = fit(
            module,
            reader.loss,
            lambda step: reader.batch(draw(step).tolist()),
            [torch.optim.AdamW(own, lr=rate, weight_decay=0.01)],
            steps=steps,
            folder=out,
            schedule=cosine(),
            seed=seed,
            report=report,
            report_every=max(1, min(50, steps // 10)),
            evaluate=(lambda: measure(task, glance, workers=workers).metrics) if checked else None,
            evaluate_every=max(1, steps // 5),
        )
    finally:
        reader.close()
    measured = measure(task, checked, workers=workers).to_json() if checked else "nothing: no validation set was given"
    card = {
        "name": f"{name} trained on {data.name}",
        **about,
        **({"encoder_began": began} if part is not None else {}),
        "skipped": [f"{source}: {words}" for source, words in sorted(reader.broken.items())],
        "loss": _last_loss(out),
        "validation": str(validation or ""),
        "measured": measured,
        "spent_s": round(spent_s, 1),
        "made": f"{datetime.date.today().isoformat()}, torch {metadata.version('torch')}, {device}",
    }
    save_task(task, out, card=card)
    return card


class _Reader:
    """Labelled samples by index, decoded by threads and kept while they fit into memory."""

    def __init__(self, task: Any, pairs: Sequence[tuple[Any, Any]], workers: int) -> None:
        self.task, self.pairs = task, pairs
        self.broken: dict[str, str] = {}
        self._bad: set[int] = set()
        self._held: dict[int, Sample] = {}
        self._room = _CACHE_BYTES
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode")

    def batch(self, indices: Sequence[int]) -> list[int]:
        """``indices`` with the broken ones replaced; their samples are at hand then."""
        return list(self._pool.map(self._readable, indices))

    def loss(self, indices: Sequence[int]) -> Tensor:
        """The task's loss; samples whose target turns out to be broken are left out."""
        held = [(i, self._sample(i), self.pairs[i][1]) for i in indices]
        try:
            return self.task.loss([sample for _, sample, _ in held], [target for _, _, target in held])
        except InputError:
            kept = [entry for entry in held if self._has_target(*entry)]
        if not kept:
            raise InputError(str(self.pairs[indices[0]][0]), "and all others of its batch have no usable target")
        return self.task.loss([sample for _, sample, _ in kept], [target for _, _, target in kept])

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _readable(self, index: int) -> int:
        for place in range(len(self.pairs)):
            candidate = (index + place) % len(self.pairs)
            if candidate in self._bad:
                continue
            try:
                self._sample(candidate)
            except InputError as error:
                self._note(candidate, error)
            else:
                return candidate
        raise InputError(str(self.pairs[0][0]), "and all others of the data set cannot be used")

    def _sample(self, index: int) -> Sample:
        sample = self._held.get(index)
        if sample is None:
            sample = self.task.read(self.pairs[index][0])
            size = sample.data.nbytes if isinstance(sample.data, Tensor) else self._room + 1
            if size <= self._room:
                self._held[index] = sample
                self._room -= size
        return sample

    def _has_target(self, index: int, sample: Sample, target: Any) -> bool:
        try:
            self.task.loss([sample], [target])
        except InputError as error:
            self._note(index, error)
            return False
        return True

    def _note(self, index: int, error: InputError) -> None:
        self._bad.add(index)
        self.broken[error.source] = error.cause


def _is_whole(task_class: Any, spec: str, settings: Mapping[str, Any]) -> bool:
    """Whether the encoder is trained along: one from scratch always is."""
    if not spec.startswith("recipe:"):
        return bool(settings.get("whole"))
    if "whole" not in inspect.signature(task_class.build).parameters:
        raise ValueError(f"{spec} is random, and the task {task_class.name!r} trains no encoder, only a head on one")
    if not settings.get("whole", True):
        raise ValueError(f"{spec} is random, so it is trained along with the head: whole=false cannot be")
    return True


def _settled(spec: str) -> str:
    """A folder by its full path, so that the checkpoint can be used from any working directory."""
    return str(Path(spec).resolve()) if ":" not in spec and Path(spec).is_dir() else spec


def _require_same(out: Path, about: Mapping[str, Any]) -> None:
    """Note what a run is made of, or refuse to go on with another one."""
    path, told = out / "run.json", json.loads(json.dumps(about))
    if (out / "state.safetensors").exists() and path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        other = [
            f"{name} {known.get(name)!r}, not {value!r}" for name, value in told.items() if known.get(name) != value
        ]
        if other:
            raise ValueError(f"{out} holds a run with {'; '.join(other)}; choose another folder or remove it")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _last_loss(out: Path) -> float | None:
    lines = (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(lines[-1])["loss"] if lines else None
