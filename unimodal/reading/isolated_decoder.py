"""Isolated decoder: gdcm in a process of its own, because it ends its process on some damaged data."""

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["decode_isolated"]

_ATTRIBUTES = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
_PATIENCE_S = 60.0  # for one object, at least
_lock = threading.Lock()
_children: dict[int, subprocess.Popen[bytes]] = {}  # by the process that started them: a fork starts its own


def decode_isolated(data: Any) -> np.ndarray:
    """The pixel array of a compressed DICOM object, by gdcm. One process serves all calls, one after another.

    Args:
        data: The data set; only what describes its pixels is passed on.

    Raises:
        ValueError: the data cannot be decoded; the text says why.
    """
    pixels = bytes(data.PixelData)
    request = {"TransferSyntaxUID": str(data.file_meta.TransferSyntaxUID), "length": len(pixels)}
    for keyword in _ATTRIBUTES:
        value = data.get(keyword)
        if value is not None and str(value) != "":
            request[keyword] = str(value) if keyword == "PhotometricInterpretation" else int(value)
    with _lock:
        child = _child()
        watch = threading.Timer(_PATIENCE_S + len(pixels) / 1e6, child.kill)
        watch.start()
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(request).encode() + b"\n" + pixels)
            child.stdin.flush()
            answer = json.loads(child.stdout.readline())
            content = child.stdout.read(answer.get("length", 0))
        except (OSError, ValueError):
            _end()
            raise ValueError("the decoder gave up on damaged data") from None
        finally:
            watch.cancel()
    if "error" in answer:
        raise ValueError(answer["error"])
    return np.frombuffer(bytearray(content), np.dtype(answer["dtype"])).reshape(answer["shape"])


def _child() -> subprocess.Popen[bytes]:
    child = _children.get(os.getpid())
    if child is not None and child.poll() is not None:
        _end()
    if child is None or child.poll() is not None:
        program = Path(__file__).with_name("decoding_child.py")
        child = _children[os.getpid()] = subprocess.Popen(
            [sys.executable, "-P", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    return child


@atexit.register
def _end() -> None:
    child = _children.pop(os.getpid(), None)
    if child is not None:
        child.kill()
        child.communicate()
