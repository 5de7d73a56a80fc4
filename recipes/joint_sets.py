"""What the joint core learns from: the sets of every modality as batches, a function of the step alone.

See recipes/joint_core.py. Every set holds its inputs in memory as the model's tokenizers read them.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from cifar10_encoder import augmented, read
from made_voices import made_voices
from multimodal_data import DATA, Data, hours
from torch import Tensor

from unimodal.sample import Batch, Sample

__all__ = ["PICTURES", "SERIES", "Labelled", "Pictures", "Series", "sets"]

PICTURES, SERIES = "cifar10", "ett"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PAST, AHEAD = 96, 96  # hours seen and asked for
SETTINGS: dict[str, dict[str, Any]] = {
    "audio": {"batch": 64, "keep": 0.7},
    "table": {"keep": 0.7},  # half of a row's columns says little about the other half
    **{name: {"batch": 16} for name in ("infrared", "xray", "video", "hyperspectral")},  # of many tokens
}


@dataclass(eq=False)
class Labelled:
    """Inputs of one modality, some of them with a class.

    Args:
        data: Sources and labels.
        tokenizer: Reads and collates them.
        batch: Inputs a step.
        keep: Share of tokens in a view.
    """

    data: Data
    tokenizer: Any
    batch: int = 32
    keep: float = 0.5
    samples: list[Sample] = field(init=False)
    labels: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.samples = [self.tokenizer.read(source) for source in self.data.train]
        self.labels = torch.tensor(self.data.train_labels)
        self.batch = min(self.batch, len(self.samples))

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.data.classes

    def parts(self, indices: Tensor) -> Iterator[tuple[Batch, Tensor]]:
        """The batch of a step in one or more pieces, with the labels."""
        if self.samples[0].modality == "audio":
            yield from _sounds([self.samples[i].data for i in indices.tolist()], self.labels[indices])
        else:
            yield self.tokenizer.collate([self.samples[i] for i in indices.tolist()]), self.labels[indices]


class Pictures:
    """CIFAR-10: mirrored and shifted (see recipes/cifar10_encoder.py).

    Args:
        folder: Of the data sets.
    """

    batch, classes = 128, CLASSES

    def __init__(self, folder: Path) -> None:
        self.images, self.labels = read(folder / "cifar10" / "cifar10_train.parquet")

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, indices: Tensor) -> Iterator[tuple[Batch, Tensor]]:
        """The batch of a step."""
        yield Batch("image", augmented(self.images[indices], 32)), self.labels[indices]


class Series:
    """The first twelve months of ETTh1: four days, and the four days behind them to be found.

    Args:
        folder: Of the data sets.
        tokenizer: Reads the windows.
    """

    batch = 16

    def __init__(self, folder: Path, tokenizer: Any, split: str = "train") -> None:
        self.values, self.tokenizer = hours(folder, split), tokenizer

    def __len__(self) -> int:
        return len(self.values) - PAST - AHEAD + 1

    def window(self, start: int) -> tuple[Sample, Tensor]:
        """The series with its gap, and the values (C, L) of the whole in the units of what is seen of it."""
        whole = self.values[start : start + PAST + AHEAD]
        seen = whole.copy()
        seen[PAST:] = float("nan")
        sample = self.tokenizer.read(seen)
        record: Any = sample.record
        mean, scale = (torch.tensor(v, dtype=torch.float32)[:, None] for v in (record.mean, record.scale))
        return sample, (torch.from_numpy(whole).mT - mean) / scale

    def parts(self, indices: Tensor | Sequence[int]) -> Iterator[tuple[Batch, Tensor]]:
        """The batch of a step and the values."""
        pairs = [self.window(int(i)) for i in indices]
        yield self.tokenizer.collate([sample for sample, _ in pairs]), torch.stack([values for _, values in pairs])


def sets(folder: Path, model: Any, names: Sequence[str]) -> dict[str, Any]:
    """The sets called ``names``: modalities of recipes/multimodal_data.py, :data:`PICTURES` and :data:`SERIES`."""
    made: dict[str, Any] = {}
    for name in names:
        if name == PICTURES:
            made[name] = Pictures(folder)
        elif name == SERIES:
            made[name] = Series(folder, model.tokenizer("time_series"))
        else:
            data = DATA[name](folder)
            if name == "audio":
                data = more_voices(data)
            made[name] = Labelled(data, model.tokenizer(name), **SETTINGS.get(name, {}))
        print(f"{name}: {len(made[name]):,} inputs", flush=True)
    return made


def more_voices(data: Data) -> Data:
    """The sounds, and digits in voices that were made."""
    made = made_voices(data.classes[:10])
    train, labels = [*data.train, *(sound for sound, _ in made)], [*data.train_labels, *(digit for _, digit in made)]
    return dataclasses.replace(data, train=train, train_labels=labels)


def _sounds(waves: list[Tensor], labels: Tensor, *, groups: int = 4, longest: int = 20_000) -> Iterator[Any]:
    """Sounds as other mouths and rooms would make them, in pieces of similar length, each padded to one length.

    Faster or slower and with that higher or lower, brighter or duller, louder or softer, half of them in noise, half
    without a band of frequencies, and up to 0.1 s later.
    """
    heard = [_otherwise(wave)[:longest] for wave in waves]
    order = sorted(range(len(heard)), key=lambda i: len(heard[i]))
    count = -(-len(order) // groups)
    for chosen in (order[i : i + count] for i in range(0, len(order), count)):
        frames = (len(heard[chosen[-1]]) - 400) // 160 + 1
        length = 400 + 160 * (-(-frames // 8) * 8 - 1)  # whole cells of 8 frames of 10 ms
        rows = torch.stack([F.pad(heard[i], (0, length - len(heard[i]))) for i in chosen])
        yield Batch("audio", rows - rows.mean(1, keepdim=True)), labels[chosen]


def _otherwise(wave: Tensor) -> Tensor:
    speed, tilt, louder, quiet = torch.rand(4).tolist()
    wave = F.interpolate(wave[None, None], scale_factor=0.8 + 0.45 * speed, mode="linear", align_corners=False)[0, 0]
    wave = wave + (1.2 * tilt - 0.6) * F.pad(wave, (1, 0))[:-1]
    wave = wave * torch.tensor(3 * louder - 1.5).exp()
    if torch.rand(()) < 0.5:
        lines = torch.fft.rfft(wave)
        low = float(torch.rand(())) ** 2 * 0.5  # of all frequencies; more of them are low
        lines[int(low * len(lines)) : int((1.1 * low + 0.04) * len(lines))] = 0
        wave = torch.fft.irfft(lines, len(wave))
    if torch.rand(()) < 0.5:
        wave = wave + torch.randn_like(wave) * wave.std() * 10 ** (-2 * quiet - 0.5)
    return F.pad(wave, (int(torch.randint(0, 1600, ())), 0))
