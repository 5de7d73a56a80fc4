"""Shared data: where the real data sets lie, and the handwritten digits among them."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["SHARED", "digits"]

SHARED = Path(os.environ.get("UNIMODAL_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def digits(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """MNIST's pictures (N, 1, 28, 28) from -1 to 1, and their labels; ``split`` is train or test."""
    held = np.load(folder / f"mnist_{split}.npz")
    return torch.tensor(held["image"])[:, None].float() / 127.5 - 1, torch.tensor(held["label"]).long()
