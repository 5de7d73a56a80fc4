"""Sharpness: how sharp a picture is, from the energy of its second derivative, no training needed.

Source: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548, sec. 3 (variance of the Laplacian).
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.errors import InputError
from unimodal.metrics import Accuracy, Metric
from unimodal.model import Model
from unimodal.sample import Sample

__all__ = ["Sharpness"]


@dataclass(frozen=True)
class Focus:
    """The focus of one picture."""

    variance: float
    probability: float

    def to_json(self) -> dict[str, Any]:
        return {"label": "sharp" if self.probability >= 0.5 else "blurred", "variance": self.variance}

    def save(self, folder: Path, stem: str) -> list[Path]:
        path = folder / f"{stem}.txt"
        path.write_text(f"variance of the Laplacian: {self.variance:.6g}\n", encoding="utf-8")
        return [path]

    def render(self) -> dict[str, Any]:
        bars = {"sharp": self.probability, "blurred": 1 - self.probability}
        return {"classes": bars, "table": [{"variance": self.variance, **self.to_json()}]}


class Threshold(nn.Module):
    """log(variance of the Laplacian); the odds of a sharp picture are what it exceeds the threshold by."""

    kernel: Tensor

    def __init__(self, encoder: Model, threshold: float) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.options = {"threshold": threshold}
        self.register_buffer("kernel", torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None])

    def train(self, mode: bool = True) -> "Threshold":
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Log variance of the Laplacian of (3, Y, X) uint8 pixels, scaled to 0..1."""
        grey = pixels.float().mean(0)[None, None] / 255
        return F.conv2d(grey, self.kernel.to(grey)).var().clamp_min(1e-12).log()


class Sharpness:
    """Whether a picture is sharp.

    Data sets: a CSV table with the columns ``image`` (a path beside the table) and ``label`` (sharp or blurred).
    """

    name: ClassVar[str] = "sharpness"
    title: ClassVar[str] = "Sharpness"
    summary: ClassVar[str] = "Whether a photo is sharp or blurred."
    inputs: ClassVar[tuple[str, ...]] = ("image",)
    outputs: ClassVar[tuple[str, ...]] = ("classes", "table")
    encoder: ClassVar[str] = "small_image_encoder"
    weights: ClassVar[str | None] = None

    def __init__(self, module: Threshold) -> None:
        self.module = module
        self.tokenizer: Any = module.encoder.tokenizer("image")

    @staticmethod
    def build(encoder: Model, *, threshold: float = -6.0) -> Threshold:
        return Threshold(encoder, threshold)

    def read(self, source: Any) -> Sample:
        return self.tokenizer.read(source)

    def predict(self, samples: Sequence[Sample]) -> list[Focus]:
        with torch.inference_mode():
            logs = [self.module(sample.data.to(self.module.kernel.device)).item() for sample in samples]
        odds = [log - self.module.options["threshold"] for log in logs]
        return [Focus(math.exp(log), 1 / (1 + math.exp(-odd))) for log, odd in zip(logs, odds, strict=True)]

    def labelled(self, path: Path) -> list[tuple[Path, str]]:
        try:
            with Path(path).open(newline="", encoding="utf-8") as file:
                return [(Path(path).parent / row["image"], row["label"]) for row in csv.DictReader(file)]
        except (OSError, KeyError) as error:
            raise InputError(path, "is no table of pictures", "columns: image, label") from error

    def loss(self, samples: Sequence[Sample], targets: Sequence[str]) -> Tensor:
        raise ValueError("sharpness has no parameters to train")

    def metrics(self) -> dict[str, Metric]:
        return {"accuracy": Accuracy(lambda focus: [focus.to_json()["label"]])}

    @staticmethod
    def examples() -> list[Path]:
        return []
