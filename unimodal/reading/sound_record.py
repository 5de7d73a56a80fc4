"""Sound record: which seconds of a sound a model heard, at which scale, and the way back.

Axes: T samples, t cells along time, n places.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["SoundRecord"]


@dataclass(frozen=True)
class SoundRecord:
    """seconds = start_s + first_s + step_s * cell;  amplitude = mean + scale * sample.

    Args:
        rate_hz: Of the original, samples a second.
        channels: Of the original; their mean is what the model hears.
        duration_s: Of the original, as its header says, or as decoding found.
        start_s: Where the part begins that the model hears.
        part_s: How long that part is. The rest of the original was not heard.
        model_hz: Samples a second that the model hears.
        samples: Samples that the model gets, with the silence that fills up behind the part.
        mean: What was taken away from every sample, full scale being 1.
        scale: What the samples were divided by then.
        grid: Cells of the tokenizer's lattice, time last.
        first_s: The middle of the first cell, from the part's beginning.
        step_s: From one cell to the next.
        format: The file's format, or the array's kind.
    """

    rate_hz: int
    channels: int
    duration_s: float
    start_s: float
    part_s: float
    model_hz: int
    samples: int
    mean: float = 0.0
    scale: float = 1.0
    grid: tuple[int, ...] = ()
    first_s: float = 0.0
    step_s: float = 0.0
    format: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields by name."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "SoundRecord":
        """The inverse of :meth:`to_json`, also behind a round trip through JSON text."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return SoundRecord(**fields)

    @property
    def whole(self) -> bool:
        """Whether the model hears all of the original."""
        return self.part_s >= self.duration_s - 1 / self.rate_hz

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of it, in words."""
        mixed = f"its {self.channels} channels were averaged"
        part = f"{self.part_s:.4g} s from {self.start_s:.4g} s on were heard, of {self.duration_s:.4g} s"
        return (*([mixed] if self.channels > 1 else []), *([] if self.whole else [part]))

    def seconds(self, cells: Tensor) -> Tensor:
        """Places along time, in cells, as seconds of the original (the middle of each cell)."""
        return self.start_s + self.first_s + self.step_s * cells.double()

    def spans(self) -> Tensor:
        """(t, 2) seconds of the original at which each cell begins and ends; behind the part lies only filling."""
        middle = self.seconds(torch.arange(self.grid[-1] if self.grid else 0))
        both = torch.stack([middle - self.step_s / 2, middle + self.step_s / 2], -1)
        return both.clamp(self.start_s, self.start_s + self.part_s)

    def restore(self, values: Tensor, *, rate_hz: float = 100.0, fill: float = float("nan")) -> Tensor:
        """Values a cell as values over the whole original, at a steady rate.

        Floating point values are interpolated between the cells' middles (constant outside of them), whole numbers
        and booleans (labels) take the nearest cell.

        Args:
            values: One a cell along time; further axes in front (bands, classes) are kept.
            rate_hz: Values a second that come back.
            fill: For the seconds that were not heard; whole numbers get -1 there and booleans False.

        Shapes:
            values: (..., t);  returns (..., round(duration_s * rate_hz)), at least one.

        Raises:
            ValueError: there is not one value a cell.
        """
        if not self.grid or values.ndim < 1 or values.shape[-1] != self.grid[-1]:
            raise ValueError(f"values have {tuple(values.shape)}, and the record {self.grid[-1:]} cells along time")
        count = max(1, round(self.duration_s * rate_hz))
        when = (torch.arange(count, dtype=torch.float64, device=values.device) + 0.5) / rate_hz
        place = ((when - self.start_s - self.first_s) / self.step_s).clamp(0, self.grid[-1] - 1)
        if values.is_floating_point():
            low = place.floor().long()
            high = (low + 1).clamp(max=self.grid[-1] - 1)
            out = torch.lerp(values[..., low], values[..., high], (place - low).to(values.dtype))
        else:
            out = values[..., (place + 0.5).floor().long()]
            fill = 0 if values.dtype is torch.bool else -1
        heard = (when >= self.start_s) & (when <= self.start_s + self.part_s)
        return out if bool(heard.all()) else out.masked_fill(~heard, fill)

    def amplitude(self, samples: Tensor) -> Tensor:
        """Samples as the model gets them, in the original's own amplitude (full scale 1)."""
        return samples * self.scale + self.mean
