"""Shared data: where the real data sets lie, and the handwritten digits and the small photos among them."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["SHARED", "digits", "photos", "small_digits"]

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


def small_digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits at 32 px, three channels and their labels; then every fifth, to test on."""
    from sklearn.datasets import load_digits

    held: Any = load_digits()
    small = torch.tensor(held.images, dtype=torch.float32)[:, None] / 8 - 1
    images = F.interpolate(small, size=32, mode="bilinear").expand(-1, 3, -1, -1)
    labels, tested = torch.tensor(held.target), torch.arange(len(images)) % 5 == 0
    return images[~tested], labels[~tested], images[tested], labels[tested]
