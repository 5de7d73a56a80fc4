"""What every task must keep to, as checks that run on anybody's task class.

They are run on a very small encoder with arbitrary weights: they say that a task works, not that it is any good.
"""

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from unimodal.catalog import catalog
from unimodal.errors import InputError
from unimodal.inference.runner import RESERVED
from unimodal.model import Model
from unimodal.sample import Sample
from unimodal.task import OUTPUTS, require_task_contract
from unimodal.weights_file import read_weights, weights_digest, write_weights

__all__ = ["check_task"]

_CLOSE = 1e-4  # relative: sums of a few hundred float32 terms in another order


def check_task(
    task: Any,
    *,
    data: str | Path | None = None,
    sources: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
    encoder: Callable[[], Model] | None = None,
) -> list[str]:
    """Run every check on a task; returns the names of those that were run.

    Args:
        task: The class, or its name in the catalog.
        data: A small labelled data set of the task. Without one, loss and metrics cannot be checked.
        sources: Inputs; without any, the task's examples and the data set's inputs are taken. Two or more are needed.
        options: For the task's ``build``; what is not given comes from ``options_from(data)``, if the task has it.
        encoder: Builds the encoder; by default a very small one for pictures.

    Raises:
        AssertionError: some checks failed; the message lists each one with its cause.
        TypeError: the task is no class with the members of the contract.
        ValueError: there are fewer than two inputs to check with.
    """
    task_class: Any = catalog("tasks")[task] if isinstance(task, str) else task
    require_task_contract(task_class, getattr(task_class, "name", "?"))
    found = task_class.options_from(Path(data)) if data is not None and hasattr(task_class, "options_from") else {}
    subject = _Subject(task_class, encoder or _small_encoder, {**found, **(options or {})}, data, tuple(sources))
    if len(subject.sources) < 2:
        raise ValueError("two or more inputs are needed: give sources or data, or ship examples")
    failures = []
    checks = [*_CHECKS, *(_LABELLED if data is not None else ())]
    for check in checks:
        try:
            check(subject)
        except Exception as error:
            failures.append(f"{check.__name__}: {type(error).__name__}: {error}")
    if failures:
        raise AssertionError(f"{task_class.__qualname__} breaks {len(failures)} contracts\n  " + "\n  ".join(failures))
    return [check.__name__ for check in checks]


@dataclass
class _Subject:
    """A task under check and what it is checked with."""

    task_class: Any
    encoder: Callable[[], Model]
    options: Mapping[str, Any]
    data: str | Path | None
    given: tuple[Any, ...]

    def build(self) -> Any:
        torch.manual_seed(0)
        return self.task_class(self.task_class.build(self.encoder(), **self.options).eval())

    @cached_property
    def task(self) -> Any:
        return self.build()

    @cached_property
    def pairs(self) -> Sequence[tuple[Any, Any]]:
        found = list(self.task.labelled(Path(self.data))) if self.data is not None else []
        return found[:: max(1, len(found) // 6)][:6]  # from all over the set, for all of its classes

    @cached_property
    def sources(self) -> list[Any]:
        return list(self.given or [*self.task_class.examples(), *(source for source, _ in self.pairs)])[:6]

    @cached_property
    def samples(self) -> list[Sample]:
        return [self.task.read(source) for source in self.sources]


def built_as_declared(subject: _Subject) -> None:
    module: Any = subject.task.module
    for name, part in (("task.module", module), ("module.encoder", getattr(module, "encoder", None))):
        if not isinstance(part, nn.Module):
            raise TypeError(f"{name} is no nn.Module but {type(part).__name__}")
    thawed = [name for name, p in module.encoder.named_parameters() if p.requires_grad]
    assert not thawed, f"the shared encoder is not frozen: {thawed[0]} wants a gradient"
    module.train()
    moving = [name for name, child in module.encoder.named_modules() if child.training]
    module.eval()
    assert not moving, "module.train() puts the encoder into training mode: override train() to keep it in eval"
    options = json.loads(json.dumps(module.options))
    rebuilt = subject.task_class.build(subject.encoder(), **options)
    shapes = [{k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (module, rebuilt)]
    assert shapes[0] == shapes[1], "build(encoder, **module.options) gives another module"


def predictions_are_rows(subject: _Subject) -> None:
    found = list(subject.task.predict(subject.samples))
    assert len(found) == len(subject.samples), f"{len(found)} predictions for {len(subject.samples)} samples"
    rows = [json.loads(json.dumps(prediction.to_json(), allow_nan=False)) for prediction in found]
    assert all(isinstance(row, dict) for row in rows), "to_json() must return a dict"
    taken = [name for name in RESERVED if name in rows[0]]
    assert not taken, f"to_json() has the keys {taken}, which are columns of the runner"
    for row in rows[1:]:
        assert list(row) == list(rows[0]), f"to_json() has the keys {list(row)} and {list(rows[0])}"
        for name, value in row.items():
            kinds = {type(value), type(rows[0][name])} - {type(None)}
            assert len(kinds) < 2, f"to_json()[{name!r}] is of several types: {kinds}"
    assert list(subject.task.predict([])) == [], "no samples must give no predictions"


def files_can_be_read(subject: _Subject) -> None:
    with tempfile.TemporaryDirectory() as name:
        for i, prediction in enumerate(subject.task.predict(subject.samples)):
            files = prediction.save(Path(name), f"file {i}")
            for file in files:
                assert Path(file).is_file(), f"save() returned {file}, which is not there"
                assert Path(file).parent == Path(name), f"save() wrote {file} outside the folder"
                assert Path(file).name.startswith(f"file {i}"), f"save() wrote {file}, not file {i}.*"
                assert Path(file).stat().st_size > 0, f"save() wrote an empty {file}"
                if Path(file).suffix.lower() in (".png", ".jpg", ".webp", ".tif"):
                    _open_picture(file)
            there = set(Path(name).glob(f"file {i}*"))
            assert there == {Path(f) for f in files}, f"save() wrote {there} and returned {files}"


def what_is_shown_is_what_is_declared(subject: _Subject) -> None:
    for prediction in subject.task.predict(subject.samples):
        shown = prediction.render()
        declared = subject.task_class.outputs
        assert tuple(shown) == declared, f"render() gives {tuple(shown)}, outputs declares {declared}"
        for name, value in shown.items():
            assert _SHOWN[name](value), f"render()[{name!r}] is not {OUTPUTS[name]}"


def neighbours_have_no_influence(subject: _Subject) -> None:
    together = subject.task.predict(subject.samples)
    for i, sample in enumerate(subject.samples):
        alone = subject.task.predict([sample])[0]
        _same(together[i].to_json(), alone.to_json(), f"sample {i} alone and among others")
    back = subject.task.predict(subject.samples[::-1])[::-1]
    for one, other in zip(together, back, strict=True):
        _same(one.to_json(), other.to_json(), "the other way round")


def the_same_input_gives_the_same_result(subject: _Subject) -> None:
    torch.manual_seed(1)
    first = [p.to_json() for p in subject.task.predict(subject.samples)]
    torch.manual_seed(2)
    again = [p.to_json() for p in subject.task.predict([subject.task.read(source) for source in subject.sources])]
    assert first == again, "a second run gives another result"


def bad_inputs_are_input_errors(subject: _Subject) -> None:
    with tempfile.TemporaryDirectory() as name:
        for what, source in (
            ("a missing file", Path(name) / "gone"),
            ("a folder", Path(name)),
            ("empty bytes", b""),
            ("words", b"these are words and nothing else"),
        ):
            try:
                subject.task.read(source)
            except InputError:
                continue
            raise AssertionError(f"{what} can be read")
        try:
            subject.task.labelled(Path(name) / "gone")
        except InputError:
            return
        raise AssertionError("labelled() of a missing path raises no InputError")


def weights_survive_a_round_trip(subject: _Subject) -> None:
    own = {k: v for k, v in subject.task.module.state_dict().items() if not k.startswith("encoder.")}
    with tempfile.TemporaryDirectory() as name:
        write_weights(Path(name) / "model.safetensors", own)
        kept = read_weights(Path(name) / "model.safetensors")
    torch.manual_seed(99)
    other = subject.task_class(subject.task_class.build(subject.encoder(), **subject.task.module.options).eval())
    encoder = {k: v for k, v in subject.task.module.state_dict().items() if k.startswith("encoder.")}
    other.module.load_state_dict({**encoder, **kept})
    first, again = (t.predict(subject.samples) for t in (subject.task, other))
    for one, two in zip(first, again, strict=True):
        assert one.to_json() == two.to_json(), "loaded weights give another result"


def the_loss_trains_all_but_the_encoder(subject: _Subject) -> None:
    task = subject.build()
    own = [(name, p) for name, p in task.module.named_parameters() if not name.startswith("encoder.")]
    if not own:
        return
    before = weights_digest(task.module.encoder.state_dict())
    task.module.train()
    samples, targets = [task.read(source) for source, _ in subject.pairs], [target for _, target in subject.pairs]
    optimizer = torch.optim.SGD([p for p in task.module.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(2):
        loss = task.loss(samples, targets)
        assert loss.ndim == 0, f"the loss has the shape {tuple(loss.shape)}"
        assert bool(loss.isfinite()), f"the loss is {loss.item()}"
        optimizer.zero_grad()
        loss.backward()
        for name, p in own:
            assert p.grad is None or bool(p.grad.isfinite().all()), f"the gradient of {name} is not finite"
        assert any(p.grad is not None and bool(p.grad.any()) for _, p in own), "no parameter gets a gradient"
        optimizer.step()
    assert weights_digest(task.module.encoder.state_dict()) == before, "a step of training changed the encoder"


def halves_of_metrics_merge_to_the_whole(subject: _Subject) -> None:
    predictions = subject.task.predict([subject.task.read(source) for source, _ in subject.pairs])
    counted = list(zip(predictions, (target for _, target in subject.pairs), strict=True))
    whole, first, second, merged = (subject.task.metrics() for _ in range(4))
    assert whole, "there are no metrics"
    for name in whole:
        assert math.isnan(whole[name].compute()), f"{name} of nothing is {whole[name].compute()}, not NaN"
        for i, (prediction, target) in enumerate(counted):
            whole[name].update(prediction, target)
            (first, second)[i % 2][name].update(prediction, target)
        merged[name].merge(first[name])
        merged[name].merge(second[name])
        figures = float(whole[name].compute()), float(merged[name].compute())
        assert math.isclose(*figures, rel_tol=1e-6), f"{name} is {figures[0]}, and {figures[1]} of merged halves"


_CHECKS = (
    built_as_declared,
    predictions_are_rows,
    files_can_be_read,
    what_is_shown_is_what_is_declared,
    neighbours_have_no_influence,
    the_same_input_gives_the_same_result,
    bad_inputs_are_input_errors,
    weights_survive_a_round_trip,
)
_LABELLED = (the_loss_trains_all_but_the_encoder, halves_of_metrics_merge_to_the_whole)


def _small_encoder() -> Model:
    recipe: Any = catalog("recipes")["small_image_encoder"]
    torch.manual_seed(0)
    return recipe(dim=32, depth=2, heads=2, widths=(8, 16))().eval()


def _same(one: Any, other: Any, when: str) -> None:
    if isinstance(one, dict):
        for key in one:
            _same(one[key], other[key], f"{when}, {key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), f"{when}: {len(one)} and {len(other)} entries"
        for a, b in zip(one, other, strict=True):
            _same(a, b, when)
    elif isinstance(one, float):
        assert math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE), f"{when}: {one} and {other}"
    else:
        assert one == other, f"{when}: {one!r} and {other!r}"


def _open_picture(file: Any) -> None:
    from PIL import Image

    with Image.open(file) as picture:
        picture.load()


def _is_classes(value: Any) -> bool:
    sound = isinstance(value, dict) and all(isinstance(k, str) and 0 <= v <= 1 for k, v in value.items())
    return sound and sum(value.values()) <= 1 + 1e-3


def _is_segments(value: Any) -> bool:
    picture, segments = value
    size = (picture.height, picture.width) if hasattr(picture, "height") else picture.shape[:2]
    return all(mask.dtype == bool and mask.shape == size and isinstance(name, str) for mask, name in segments)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) and list(row) == list(value[0]) for row in value)


_SHOWN: Mapping[str, Callable[[Any], bool]] = {
    "classes": _is_classes,
    "segments": _is_segments,
    "image": lambda value: hasattr(value, "save") and hasattr(value, "size"),
    "text": lambda value: isinstance(value, str),
    "table": _is_table,
}
