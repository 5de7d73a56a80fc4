"""Classification: one class for each picture, from a linear head on an encoder, frozen or trained along.

Source: linear evaluation of a frozen encoder: Dosovitskiy et al. 2020, arXiv:2010.11929, sec. 4.
Axes: B pictures, D encoder width, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.data.labelled import labelled_pictures
from unimodal.errors import InputError
from unimodal.metrics import Accuracy, Metric
from unimodal.model import Model
from unimodal.sample import Batch, Sample

__all__ = ["Classification"]


@dataclass(frozen=True, eq=False)
class ClassPrediction:
    """Class probabilities of one picture.

    Args:
        source: The picture.
        classes: Names of the K classes.
        probabilities: (K,), in the order of ``classes``.
        top: The five likeliest, likeliest first.
    """

    source: str
    classes: tuple[str, ...]
    probabilities: Tensor
    top: tuple[tuple[str, float], ...]

    @cached_property
    def ranked(self) -> tuple[tuple[str, float], ...]:
        """All classes with their probabilities, likeliest first."""
        values, order = self.probabilities.sort(descending=True, stable=True)
        return tuple((self.classes[i], p) for i, p in zip(order.tolist(), values.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """The best class, its probability, and the five best."""
        top = [{"label": name, "probability": p} for name, p in self.top]
        return {"label": self.top[0][0], "probability": self.top[0][1], "top": top}

    def save(self, folder: Path, stem: str) -> list[Path]:
        """Nothing: the row says it all."""
        return []

    def render(self) -> dict[str, Any]:
        """The classes' bars."""
        return {"classes": dict(self.ranked)}


class ClassifierModule(nn.Module):
    """logits = W embed(picture) + b.

    Args:
        encoder: Has a readout.
        classes: Names of the K classes.
        whole: Whether the encoder is trained along with the head; else it stays in eval mode and gets no gradient.

    Raises:
        ValueError: there are no classes, or one is named twice.
    """

    def __init__(self, encoder: Model, classes: Sequence[str], *, whole: bool = False) -> None:
        super().__init__()
        if not classes or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be different names, at least one, not {tuple(classes)}")
        self.whole = whole
        self.encoder = encoder if whole else encoder.eval().requires_grad_(False)
        self.options = {"classes": tuple(classes), **({"whole": True} if whole else {})}
        self.head = nn.Linear(encoder.embedded, len(classes))

    def train(self, mode: bool = True) -> "ClassifierModule":
        super().train(mode)
        self.encoder.train(mode and self.whole)
        return self

    def forward(self, batch: Batch) -> Tensor:
        with torch.set_grad_enabled(self.whole and torch.is_grad_enabled()):
            embedded_BD = self.encoder.embed(batch)
        return self.head(embedded_BD)


class Classification:
    """What is in the picture: one of the trained classes, with its probability.

    Data sets: a folder with one sub-folder a class, or a CSV or Parquet table with the columns ``image`` (path or
    encoded bytes) and ``label`` (class name or index).
    """

    name: ClassVar[str] = "classification"
    title: ClassVar[str] = "Image classification"
    summary: ClassVar[str] = "What is in the picture, as class probabilities."
    inputs: ClassVar[tuple[str, ...]] = ("image",)
    outputs: ClassVar[tuple[str, ...]] = ("classes",)
    encoder: ClassVar[str] = "small_multimodal_encoder"
    weights: ClassVar[str | None] = "classification_cifar10"

    def __init__(self, module: ClassifierModule) -> None:
        self.module = module
        self.classes: tuple[str, ...] = tuple(module.options["classes"])
        self.tokenizer: Any = module.encoder.tokenizer("image")

    @staticmethod
    def build(encoder: Model, *, classes: Sequence[str] = tuple("0123456789"), whole: bool = False) -> ClassifierModule:
        """A linear head over ``classes`` on an encoder that is frozen, or trained along as a ``whole``."""
        return ClassifierModule(encoder, classes, whole=whole)

    def read(self, source: Any) -> Sample:
        """Decode one picture."""
        return self.tokenizer.read(source)

    @staticmethod
    def options_from(path: Path) -> dict[str, Any]:
        """The classes that a data set names, in the order of their names (numbers by value)."""
        names = {label for _, label in labelled_pictures(path, ())}
        numbers = sorted((name for name in names if name.isdecimal()), key=int)
        return {"classes": (*numbers, *sorted(name for name in names if not name.isdecimal()))}

    def predict(self, samples: Sequence[Sample]) -> list[ClassPrediction]:
        """Probabilities of every class."""
        if not samples:
            return []
        with torch.inference_mode():
            probability_BK = self._logits(samples).float().softmax(-1).cpu()
            best_BT, index_BT = probability_BK.topk(min(5, len(self.classes)), sorted=True)
        rows = zip(samples, probability_BK, best_BT.tolist(), index_BT.tolist(), strict=True)
        return [
            ClassPrediction(
                sample.source, self.classes, p_K, tuple((self.classes[i], p) for i, p in zip(at, best, strict=True))
            )
            for sample, p_K, best, at in rows
        ]

    def labelled(self, path: Path) -> Sequence[tuple[Any, str]]:
        """(picture, class name) pairs."""
        pairs = labelled_pictures(path, self.classes)
        for source, label in pairs:
            if label not in self.classes:
                raise InputError(str(source), f"the label {label!r} is not a class", f"classes: {self.classes}")
        return pairs

    def loss(self, samples: Sequence[Sample], targets: Sequence[str]) -> Tensor:
        """Cross-entropy, each batch mirrored half of the time."""
        wanted_B = torch.tensor([self.classes.index(target) for target in targets])
        logits_BK = self._logits(samples, mirrored=self.module.training and bool(torch.rand(()) < 0.5))
        return F.cross_entropy(logits_BK, wanted_B.to(logits_BK.device))

    def metrics(self) -> dict[str, Metric]:
        """Top-1 and, with more than five classes, top-5 accuracy."""
        tops = (1, 5) if len(self.classes) > 5 else (1,)
        return {f"top{k}": Accuracy(lambda p: [name for name, _ in p.ranked], top=k) for k in tops}

    @staticmethod
    def examples() -> list[Path]:
        """Sample pictures that ship with the suite."""
        return sorted(Path(str(resources.files("unimodal") / "data" / "samples")).glob("object_*.jpg"))

    def _logits(self, samples: Sequence[Sample], *, mirrored: bool = False) -> Tensor:
        batch = self.tokenizer.collate(samples).to(self.module.head.weight.device)
        if mirrored:
            data = batch.data.flip(-1) if isinstance(batch.data, Tensor) else tuple(t.flip(-1) for t in batch.data)
            batch = Batch(batch.modality, data, batch.records)
        return self.module(batch)
