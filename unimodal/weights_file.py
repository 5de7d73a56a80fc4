"""Weights files: safetensors, read and written whole; nothing that could carry code is opened."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from unimodal.errors import CheckpointError

__all__ = ["read_weights", "refuse_pickle", "replace_file", "stored", "weights_digest", "write_weights"]

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".tar")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: the file is missing, of another kind, truncated or corrupted.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    refuse_pickle(path)
    if not path.is_file():
        raise CheckpointError(path, "no such file")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        cause = f"not a whole safetensors file ({error})"
        raise CheckpointError(path, cause, "it may be truncated: fetch or copy it again") from error


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write ``weights`` beside ``path`` and move them there in one step."""
    from safetensors.torch import save_file

    aside = path.with_name(f".{path.name}.{os.getpid()}")
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in weights.items()}
    try:
        save_file(tensors, aside, metadata={"format": "pt"})
        replace_file(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def replace_file(aside: Path, path: Path) -> None:
    """Flush ``aside`` to the disk and give it the name ``path``."""
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


def refuse_pickle(path: Path) -> None:
    """Raise for a file that torch would unpickle, by its name.

    Raises:
        CheckpointError: the name ends like a pickled checkpoint.
    """
    if path.suffix in _PICKLES:
        raise CheckpointError(
            path,
            "a pickled checkpoint can run code when it is opened, so it is never read",
            "convert it to safetensors where you trust it",
        )


def stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """``tensor`` in the dtype in which it is stored: floating-point ones in ``dtype``, others as they are."""
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """A digest of the tensors' names, shapes, dtypes and bytes, whatever their order, device or file."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().to("cpu").contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
