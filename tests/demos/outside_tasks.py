"""Tasks of another distribution: one that shows every kind of output, one that is slow, and some that are broken."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.nn as nn
from PIL import Image

from unimodal.model import Model
from unimodal.sample import Sample

__all__ = ["Gallery", "Liar", "Slow", "Untrained"]


class Bare(nn.Module):
    """The encoder and nothing else."""

    def __init__(self, encoder: Model) -> None:
        super().__init__()
        self.encoder = encoder
        self.options: dict[str, Any] = {}


@dataclass(frozen=True)
class Shown:
    """What a page shows, as it was made."""

    values: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"text": self.values["text"]}

    def save(self, folder: Path, stem: str) -> list[Path]:
        return []

    def render(self) -> dict[str, Any]:
        return self.values


class Gallery:
    """Every kind of output, from the picture's brightness and the encoder's answer."""

    name: ClassVar[str] = "gallery"
    title: ClassVar[str] = "Gallery"
    summary: ClassVar[str] = "One of every kind of output."
    inputs: ClassVar[tuple[str, ...]] = ("image",)
    outputs: ClassVar[tuple[str, ...]] = ("segments", "image", "text", "table", "classes")
    encoder: ClassVar[str] = os.environ["UNIMODAL_TEST_ENCODER"]
    weights: ClassVar[str | None] = None

    def __init__(self, module: Any) -> None:
        self.module = module
        self.tokenizer = module.encoder.tokenizer("image")

    @staticmethod
    def build(encoder: Model) -> nn.Module:
        return Bare(encoder)

    def read(self, source: Any) -> Sample:
        return self.tokenizer.read(source)

    def predict(self, samples: Sequence[Sample]) -> list[Shown]:
        return [self._shown(sample) for sample in samples]

    def labelled(self, path: Path) -> list[Any]:
        return []

    def loss(self, samples: Sequence[Sample], targets: Sequence[Any]) -> Any:
        return None

    def metrics(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def examples() -> list[Path]:
        import unimodal

        folder = Path(str(unimodal.__file__)).parent / "data" / "samples"
        return sorted(folder.glob("street_*.jpg"))

    def _shown(self, sample: Sample) -> Shown:
        picture = Image.open(sample.original).convert("RGB")
        levels = np.digitize(np.asarray(picture.convert("L")), [64, 128, 192])
        names = ("dark", "dim", "light", "bright")
        embedded = self.module.encoder.embed(self.tokenizer.collate([sample]))[0]
        chances = embedded[:4].detach().softmax(-1).tolist()
        return Shown(
            {
                "segments": (picture, [(levels == i, name) for i, name in enumerate(names)]),
                "image": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
                "text": f"{sample.source}: {picture.width} x {picture.height}",
                "table": [{"name": n, "share": float((levels == i).mean())} for i, n in enumerate(names)],
                "classes": dict(zip(names, chances, strict=True)),
            }
        )


class Slow(Gallery):
    """Answers when the test lets it, at the latest after a minute."""

    name: ClassVar[str] = "slow"
    title: ClassVar[str] = "Slow"
    outputs: ClassVar[tuple[str, ...]] = ("text",)

    def predict(self, samples: Sequence[Sample]) -> list[Shown]:
        begun = time.monotonic()
        while not Path(os.environ["UNIMODAL_TEST_RELEASE"]).exists() and time.monotonic() - begun < 60:
            time.sleep(0.05)
        return [Shown({"text": "at last"}) for _ in samples]


class Untrained(Gallery):
    """Its weights are nowhere."""

    name: ClassVar[str] = "untrained"
    title: ClassVar[str] = "Untrained"
    weights: ClassVar[str | None] = "weights_that_nobody_trained"


class Liar(Gallery):
    """Keeps the contract by its looks and raises when it is asked."""

    name: ClassVar[str] = "liar"

    @staticmethod
    def examples() -> list[Path]:
        raise RuntimeError("there is no such thing")
