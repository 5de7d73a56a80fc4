"""Shared data: where the real data sets lie, and the handwritten digits and the small photos among them."""

import io
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["SHARED", "digits", "photos"]

SHARED = Path(os.environ.get("UNIMODAL_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CIFAR_MEAN, CIFAR_STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)


def digits(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """MNIST's pictures (N, 1, 28, 28) from -1 to 1, and their labels; ``split`` is train or test."""
    held = np.load(folder / f"mnist_{split}.npz")
    return torch.tensor(held["image"])[:, None].float() / 127.5 - 1, torch.tensor(held["label"]).long()


def photos(folder: Path, split: str, count: int) -> tuple[Tensor, Tensor]:
    """CIFAR-10's first pictures (N, 3, 32, 32), each colour with mean 0 and variance 1 in the whole set, and labels."""
    import pyarrow.parquet as parquet
    from PIL import Image

    rows = parquet.read_table(folder / f"cifar10_{split}.parquet").slice(0, count).to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB")) for row in rows])
    x = torch.from_numpy(pixels).movedim(-1, 1).float() / 255
    mean, std = (torch.tensor(t)[:, None, None] for t in (CIFAR_MEAN, CIFAR_STD))
    return (x - mean) / std, torch.tensor([row["label"] for row in rows], dtype=torch.long)
