"""Pipeline: inputs to results in order, decoded ahead in threads, put into batches by cost, one bad input a bad row."""

import copy
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from unimodal.errors import InputError
from unimodal.inference.sources import Input
from unimodal.kernels.dispatch import Wish
from unimodal.prepack import prepack
from unimodal.sample import Sample

__all__ = ["Result", "predictions", "why"]

_LONGEST_WINDOW = 256
_UNLIMITED = 1 << 62


@dataclass(frozen=True)
class Result:
    """What became of one input: a prediction, or the reason why there is none.

    Args:
        index: Its place among the inputs.
        name: Its name.
        prediction: None if there is an error.
        error: None if there is a prediction.
    """

    index: int
    name: str
    prediction: Any = None
    error: Exception | None = None


def predictions(
    task: Any,
    inputs: Iterable[Any],
    *,
    batch_tokens: int | None = None,
    workers: int = 2,
    linear_maps: Wish = "auto",
) -> Generator[Result]:
    """The results of ``inputs``, one each, in their order. Nothing that an input or the task does ends the run.

    While the model works on a batch, ``workers`` threads decode the inputs of the next one and no further, so memory
    does not grow with the number of inputs. A batch that fails is tried again one by one; one that does not fit into
    memory is halved, and so are the batches behind it.

    Args:
        task: Has ``read`` and ``predict`` (see :class:`unimodal.task.Task`).
        inputs: What ``task.read`` takes, or :class:`~unimodal.inference.sources.Input` with names.
        batch_tokens: The most tokens in a batch; a sample with more is a batch of its own. None: 2,048 on a CPU,
            32,768 elsewhere.
        workers: Decoding threads; 0 decodes between the batches.
        linear_maps: ``auto`` works with a copy of the task's module whose linear maps are packed for this processor
            where they can be (:func:`unimodal.prepack.prepack`: the same to a few units in the last place, on CPUs up
            to twice as fast), ``reference`` with the module itself; ``require`` packs or raises.

    Raises:
        ValueError: ``batch_tokens`` is not positive or ``workers`` is negative.
        RuntimeError: ``linear_maps="require"`` and there is nothing to pack.
    """
    on_cpu = next((p.device.type for p in task.module.parameters()), "cpu") == "cpu"
    budget = batch_tokens if batch_tokens is not None else 2048 if on_cpu else 32768
    if budget < 1:
        raise ValueError(f"batch_tokens must be positive, not {batch_tokens}")
    if workers < 0:
        raise ValueError(f"workers must not be negative, not {workers}")
    return _run(task, _packed(task, linear_maps), inputs, budget, workers)


def why(error: Exception) -> str:
    """An error in a row: what is wrong with an input as a clause, anything else with the name of its class."""
    if isinstance(error, InputError):
        return error.cause + (f"; {error.remedy}" if error.remedy else "")
    return f"{type(error).__name__}: {error}"


def _packed(task: Any, wish: Wish) -> Any:
    """The task around the module that predicts; ``task`` itself, which reads, keeps its own."""
    module = prepack(task.module, implementation=wish)
    if module is task.module:
        return task
    twin = copy.copy(task)
    twin.module = module
    return twin


def _run(task: Any, packed: Any, inputs: Iterable[Any], budget: int, workers: int) -> Generator[Result]:
    window: list[tuple[Input, Sample | Exception]] = []
    cost, index, ahead = 0, 0, deque([2 * workers], maxlen=1)
    for item, got in _decoded(task, inputs, workers, ahead):
        own = got.cost if isinstance(got, Sample) else 0
        if window and (cost + own > budget or len(window) >= _LONGEST_WINDOW):
            ahead.append(max(2 * workers, len(window)))
            results, fitting = _results(packed, window, index)
            yield from results
            budget, index, window, cost = min(budget, fitting), index + len(window), [], 0
        window.append((item, got))
        cost += own
    yield from _results(packed, window, index)[0]


def _decoded(
    task: Any, inputs: Iterable[Any], workers: int, ahead: Sequence[int]
) -> Iterator[tuple[Input, Sample | Exception]]:
    """Each input and what reading it gave; ``ahead[0]`` are being read at a time."""
    items = (item if isinstance(item, Input) else Input(_name(item, i), item) for i, item in enumerate(inputs))
    if not workers:
        yield from ((item, _read(task, item)) for item in items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    pending: deque[tuple[Input, Future[Sample | Exception]]] = deque()
    try:
        while True:
            while len(pending) < ahead[0] and (item := next(items, None)) is not None:
                pending.append((item, pool.submit(_read, task, item)))
            if not pending:
                return
            item, future = pending.popleft()
            yield item, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(task: Any, item: Input) -> Sample | Exception:
    try:
        return task.read(item.value)
    except Exception as error:
        return error.with_traceback(None)  # frames would keep what was decoded alive


def _results(task: Any, window: Sequence[tuple[Input, Sample | Exception]], index: int) -> tuple[list[Result], int]:
    """A result an input, and the most tokens that fit into memory as far as is known now."""
    samples = [got for _, got in window if isinstance(got, Sample)]
    outcomes, fitting = _predicted(task, samples) if samples else ([], _UNLIMITED)
    found, results = iter(outcomes), []
    for place, (item, got) in enumerate(window, start=index):
        outcome = next(found) if isinstance(got, Sample) else got
        failed = isinstance(outcome, Exception)
        results.append(Result(place, item.name, None if failed else outcome, outcome if failed else None))
    return results, fitting


def _predicted(task: Any, samples: Sequence[Sample]) -> tuple[list[Any], int]:
    """A prediction or an exception a sample, and the most tokens that fit."""
    try:
        with torch.no_grad():
            found = list(task.predict(samples))
        if len(found) != len(samples):
            raise ValueError(f"the task returned {len(found)} predictions for {len(samples)} samples")
        return found, _UNLIMITED
    except Exception as error:
        if len(samples) == 1:
            return [error.with_traceback(None)], _UNLIMITED
        exhausted = _is_out_of_memory(error)
    if not exhausted:
        return [outcome for sample in samples for outcome in _predicted(task, [sample])[0]], _UNLIMITED
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    half = len(samples) // 2
    (first, fits), (second, also) = _predicted(task, samples[:half]), _predicted(task, samples[half:])
    return first + second, min(fits, also, max(1, sum(s.cost for s in samples) // 2))


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)
    )


def _name(value: Any, index: int) -> str:
    return str(value) if isinstance(value, str) or hasattr(value, "__fspath__") else f"input {index}"
