"""Desk: the tasks of one device, each loaded when it is first asked, and asked one at a time."""

import threading
from typing import Any

from unimodal.errors import CheckpointError, UnknownNameError
from unimodal.task import load_task

__all__ = ["Desk"]


class Desk:
    """Load once, whichever threads ask first; predict one input at a time on the device.

    One lock guards all loading, so that two tasks that stand on one encoder never load it twice. A second lock guards
    the device: the page's queue runs one prediction at a time already, but a cancelled one may still be finishing.

    Args:
        device: A torch device.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._tasks: dict[str, Any] = {}
        self._loading, self._predicting = threading.Lock(), threading.Lock()

    def __contains__(self, name: str) -> bool:
        """Whether the task is loaded."""
        return name in self._tasks

    def task(self, name: str) -> Any:
        """The task called ``name``, loaded.

        Raises:
            UnknownNameError: no such task.
            CheckpointError: its weights or its encoder's are absent, damaged or do not fit.
        """
        with self._loading:
            if name not in self._tasks:
                try:
                    self._tasks[name] = load_task(name, device=self.device)
                except UnknownNameError as error:
                    if error.kind == "task":
                        raise
                    raise CheckpointError(name, f"its encoder is not here ({error})") from error
                except ValueError as error:
                    raise CheckpointError(name, f"cannot be loaded ({error})") from error
            return self._tasks[name]

    def answer(self, name: str, sample: Any) -> dict[str, Any]:
        """What the task shows for one sample: :meth:`unimodal.task.Prediction.render`."""
        task = self.task(name)
        with self._predicting:
            (prediction,) = task.predict([sample])
            return prediction.render()
