"""Quiet: what libraries that decode files warn and log about (odd metadata, their own limits) stays with them."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["quiet"]

_LIBRARIES = r"(PIL|pydicom|nibabel|nrrd|gdcm)\b"
_LOGS = ("pydicom", "nibabel", "nibabel.global")  # they quote a file's header, and so a patient
_lock = threading.Lock()
_inside: list[Any] = []


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of Pillow, pydicom, nibabel, pynrrd and gdcm while any thread is in here.

    ``warnings.catch_warnings`` is undone in the wrong order when threads overlap; so the first one in saves the
    filters and the last one out puts them back.
    """
    with _lock:
        if not _inside:
            saved = warnings.catch_warnings()
            saved.__enter__()
            warnings.filterwarnings("ignore", module=_LIBRARIES)
            _inside.append((saved, [(log, log.disabled) for log in map(logging.getLogger, _LOGS)]))
            for log, _ in _inside[0][1]:
                log.disabled = True
        _inside.append(None)
    try:
        yield
    finally:
        with _lock:
            _inside.pop()
            if len(_inside) == 1:
                saved, logs = _inside.pop()
                saved.__exit__(None, None, None)
                for log, disabled in logs:
                    log.disabled = disabled
