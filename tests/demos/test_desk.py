"""Desk: many threads ask, everything is loaded once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from unimodal.catalog import catalog
from unimodal.demos.desk import Desk
from unimodal.errors import CheckpointError, UnknownNameError


def test_threads_that_ask_at_once_share_each_task_and_tasks_share_their_encoder():
    names = [name for name in catalog("tasks") if catalog("tasks").source(name) == "unimodal"]
    desk, gate = Desk(), threading.Barrier(8)
    assert not any(name in desk for name in names)

    def ask(index: int) -> tuple[str, object]:
        gate.wait()
        name = names[index % len(names)]
        return name, desk.task(name)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert all(desk.task(name) is task for name, task in found)
    encoders = {}
    for name in names:
        task = desk.task(name)
        assert encoders.setdefault(task.encoder, task.module.encoder) is task.module.encoder
    assert all(name in desk for name in names)


def test_an_unknown_task_is_told():
    with pytest.raises(UnknownNameError, match="no task named 'clasification'; did you mean 'classification'"):
        Desk().task("clasification")


def test_weights_that_are_absent_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalog("tasks")["classification"], "weights", "weights_that_nobody_trained")
    with pytest.raises(CheckpointError, match="classification: cannot be loaded .*weights_that_nobody_trained"):
        Desk().task("classification")


def test_an_encoder_that_is_absent_is_told(monkeypatch: pytest.MonkeyPatch):
    task = catalog("tasks")["classification"]
    monkeypatch.setattr(task, "weights", None)
    monkeypatch.setattr(task, "encoder", "an_encoder_that_nobody_trained")
    with pytest.raises(CheckpointError, match="classification: its encoder is not here"):
        Desk().task("classification")
