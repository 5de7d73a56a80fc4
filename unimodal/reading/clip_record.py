"""Clip record: where the frames and pixels that a model saw lie in the clip that was given, and the way back.

Axes: C channels, T frames, H x W pixels of the original as displayed, t, y, x cells of a map.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimodal.reading.geometry import ImageRecord

__all__ = ["ClipRecord"]


@dataclass(frozen=True)
class ClipRecord:
    """Times are in s from the clip's first frame.

    Args:
        spatial: Where every frame's pixels lie in the original's, as displayed (turned and with square pixels).
        wanted_s: The times that were asked for, evenly spaced, one a frame.
        times_s: The frame's own time stamp: the last one that begins at or before the time asked for.
        window_s: (begin, end) of the part of the clip that the frames stand for.
        duration_s: Of the clip.
        rate_hz: Frames a second on average, None if the file does not say it.
        stride: Frames a cell of the tokenizer's stem.
        aspect: Width of a stored pixel over its height.
        codec: How the frames are coded, None for pictures in memory.
    """

    spatial: ImageRecord
    wanted_s: tuple[float, ...]
    times_s: tuple[float, ...]
    window_s: tuple[float, float]
    duration_s: float
    rate_hz: float | None = None
    stride: int = 1
    aspect: float = 1.0
    codec: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields by name."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "ClipRecord":
        """The inverse of :meth:`to_json`, also behind a round trip through JSON text."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return ClipRecord(**{**fields, "spatial": ImageRecord.from_json(data["spatial"])})

    @property
    def notes(self) -> tuple[str, ...]:
        """What part of it was seen, in words."""
        begin, end = self.window_s
        return (f"{len(self.wanted_s)} frames, evenly spaced from {begin:.4g} s to {end:.4g} s, were taken",)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Cells of the stem in time, rows and columns."""
        return (len(self.wanted_s) // self.stride, *self.spatial.grid)

    def restore(self, values: Tensor, *, at_s: Sequence[float] | None = None, fill: float | None = None) -> Tensor:
        """A map over the model's clip, laid over the original's pixels at the times given.

        In time, a floating point map is interpolated linearly between the middles of its cells (and constant before
        the first and behind the last); of an integer or boolean one the nearest cell counts. In space see
        :meth:`unimodal.reading.geometry.ImageRecord.restore`.

        Args:
            at_s: Times; None for those of the frames that the model saw.
            fill: For pixels that were cropped away.

        Shapes:
            values: (t, y, x) or (C, t, y, x), t any number of equal parts of the window;
                returns (T, H, W) or (C, T, H, W).

        Raises:
            ValueError: ``values`` has other axes, or an empty one.
        """
        if values.ndim not in (3, 4) or 0 in values.shape:
            raise ValueError(f"values must be a map (t, y, x) or (C, t, y, x) with cells, not {tuple(values.shape)}")
        cells = values.shape[-3]
        at = torch.tensor(self.wanted_s if at_s is None else tuple(at_s), dtype=torch.float64, device=values.device)
        begin, end = self.window_s
        place = ((at - begin) / (end - begin) * cells - 0.5).clamp(0, cells - 1) if end > begin else 0 * at
        if values.is_floating_point():
            low, time_axis = place.floor().long(), values.ndim - 3
            weight = (place - low).to(values.dtype)[:, None, None]
            high = (low + 1).clamp(max=cells - 1)
            frames = torch.lerp(values.index_select(time_axis, low), values.index_select(time_axis, high), weight)
        else:
            frames = values.index_select(values.ndim - 3, (place + 0.5).floor().long().clamp(max=cells - 1))
        laid = [self.spatial.restore(frame, fill=fill) for frame in frames.unbind(-3)]
        return torch.stack(laid, -3)
