"""Video: clips as tubelet tokens, and what belongs to the tokens back over the clip's own pixels and time.

Source: Arnab et al. 2021, arXiv:2103.15691, sec. 3.2 (tubelet embedding; uniform frame sampling is its first variant).
Axes: B clips, T frames, Y rows, X columns, D width, P patch size in px, N tokens of a clip, S tokens of all clips.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
from PIL import Image as Pillow
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.reading.animation import shown_for
from unimodal.reading.clip import open_clip
from unimodal.reading.clip_record import ClipRecord
from unimodal.reading.geometry import ImageRecord
from unimodal.reading.placing import checked_size, placed
from unimodal.sample import Batch, Sample
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokens import Tokens

__all__ = ["Video"]

MOST = 16_384  # frames, where nobody set a limit: a wrong header may claim any length


class Video(nn.Module):
    """clip -> frames at evenly spaced times -> fit -> (pixels / 255 - mean) / std -> stem -> one token a tubelet.

    Of a clip that lasts L s the window W = min(L, ``window_s``) in its middle is looked at, and of it n frames at

        t_i = L / 2 + (i + 1/2 - n / 2) / r,   i = 0 .. n - 1,

    where without ``rate_hz`` n = ``frames`` and r = n / W (the middles of n equal parts of the window, whatever its
    length), and with it r = ``rate_hz`` and n = W r rounded down to whole tubelets, at least one and at most
    ``frames``. The frame at t is the one on display then: the last whose time stamp is not behind t, so variable
    frame rates are played at the right speed and a clip of few frames repeats them. The record says what was seen.

    The defaults make 392 tokens of any clip. Longer clips are sampled more thinly; for all of a long clip at a fixed
    rate set ``rate_hz`` and ``frames=None``, or cut it.

    Args:
        dim: Width D.
        stem: Turns (B, 3, T, Y, X) into (B, D, t, y, x) and has ``stride`` (three numbers, square in space) and
            ``channels``.
        frames: n, a multiple of the stem's stride in time; with ``rate_hz`` the most, or None for no limit.
        rate_hz: See above, or None.
        window_s: See above, or None for the whole clip.
        size: As :class:`unimodal.tokenizers.image.Image` has it, and so ``fit``, ``mean``, ``std``, ``resample`` and
            ``crop_fraction``. Frames are turned as their display matrix says and have square pixels first.
        fit: One of crop, resize, inside, native.
        mean: Of red, green, blue in 0..1.
        std: Of red, green, blue in 0..1.
        resample: Pillow's name of a filter.
        crop_fraction: In (0, 1].
        array_hz: Frames a second of arrays and lists of pictures, which have no times.
        pixel_limit: Clips with more pixels a frame are refused before they are decoded.

    Shapes:
        forward: uint8 pixels, or floats that are normalised already, (B, 3, T, Y, X) or B times (3, T, Y, X);
            returns (B, N, D) with side.grid, or when sizes differ packed (1, S, D) with side.grids.

    Raises:
        ValueError: a setting is not as above.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif", ".webp", ".apng", ".mpg", ".mpeg", ".ts", ".mts"),
        *(".m2ts", ".wmv", ".asf", ".flv", ".ogv", ".3gp", ".3g2", ".mxf", ".ivf"),
    )
    variable: ClassVar[Mapping[str, Any]] = {
        **{"size": None, "fit": "native", "rate_hz": 12.5},
        "stem": Part(TubeletStem, patch=(2, 8, 8)),
    }

    def __init__(
        self,
        dim: int,
        *,
        stem: Part = Part(TubeletStem),
        frames: int | None = 16,
        rate_hz: float | None = None,
        window_s: float | None = None,
        size: tuple[int, int] | int | None = 112,
        fit: str = "crop",
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
        resample: str = "bicubic",
        crop_fraction: float = 1.0,
        array_hz: float = 25.0,
        pixel_limit: int = 178_000_000,
    ) -> None:
        super().__init__()
        if resample.upper() not in Pillow.Resampling.__members__:
            known = ", ".join(name.lower() for name in Pillow.Resampling.__members__)
            raise ValueError(f"resample must be one of {known}, not {resample!r}")
        if not 0 < crop_fraction <= 1:
            raise ValueError(f"crop_fraction must be in (0, 1], not {crop_fraction}")
        positive = {"rate_hz": rate_hz, "window_s": window_s, "array_hz": array_hz, "pixel_limit": pixel_limit}
        for name, value in positive.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std must be three numbers, std positive, not {mean} and {std}")
        self.stem = stem(dim)
        depth, patch, across = self.stem.stride
        if self.stem.channels != 3 or patch != across:
            raise ValueError(f"stem must take 3 channels and square patches, not {self.stem.channels}, {patch, across}")
        if frames is None and rate_hz is None:
            raise ValueError("frames must be given without rate_hz")
        if frames is not None and (frames < depth or frames % depth):
            raise ValueError(f"frames must be a multiple of the stem's {depth} frames, not {frames}")
        self.size = checked_size(size, fit, patch)
        self.frames, self.rate_hz, self.window_s, self.array_hz = frames, rate_hz, window_s, array_hz
        self.fit, self.resample = fit, Pillow.Resampling[resample.upper()]
        self.crop_fraction, self.pixel_limit = crop_fraction, pixel_limit
        self.mean, self.std = tuple(mean), tuple(std)  # no buffers: casting a model must not round them

    @staticmethod
    def claims(path: Path) -> float:
        """Animations are clips and stills are not; MPEG's transport streams share ``.ts`` with time series."""
        try:
            with path.open("rb") as file:
                head = file.read(400)
                if head[:4] in (b"GIF8", b"\x89PNG") or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
                    return 0.9 if len(shown_for(file, limit=1 << 20)) > 1 else 0.0
        except (OSError, ValueError):
            return 0.0
        if head[4:8] == b"ftyp":
            return 0.1 if head[8:12] in (b"M4A ", b"M4B ", b"heic", b"heix", b"mif1", b"avif") else 0.9
        if head[:4] in (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba") or head[8:12] == b"AVI ":
            return 0.9
        if any(len(head) > at + 188 and head[at] == head[at + step] == 0x47 for at, step in ((0, 188), (4, 192))):
            return 0.9
        return 0.6 if head[4:8] in (b"moov", b"mdat", b"wide") else 0.1

    @staticmethod
    def examples() -> list[np.ndarray]:
        """Moving waves of colour of three sizes and lengths."""
        waves = []
        for frames, rows, columns in ((9, 48, 64), (4, 32, 32), (14, 70, 40)):
            t, y, x = np.mgrid[:frames, :rows, :columns]
            waves.append(np.stack([(5 * t + 3 * y + (2 + c) * x) % 256 for c in range(3)], -1).astype(np.uint8))
        return waves

    def read(self, source: Any) -> Sample:
        """Decode and fit one clip (see :func:`unimodal.reading.clip.open_clip` for what can be read).

        Shapes:
            sample.data: (3, T, Y, X) uint8.

        Raises:
            InputError: the source cannot be opened, is no clip, is damaged, has no frames or too many pixels.
            MissingExtraError: it is a video file and PyAV is not installed.
        """
        with open_clip(source, pixel_limit=self.pixel_limit, array_hz=self.array_hz) as clip:
            width, height = clip.size
            patch = self.stem.stride[1]
            fitting = {"size": self.size, "fit": self.fit, "crop_fraction": self.crop_fraction, "stride": patch}
            (rows, columns), box = placed(width, height, **fitting)
            wanted, window = self._times(clip.duration_s)
            if len(wanted) > MOST and self.frames is None:
                cause = f"needs {len(wanted)} frames at {self.rate_hz:g} Hz ({clip.duration_s:.6g} s)"
                raise InputError(clip.name, cause, f"without frames or window_s at most {MOST} are read")
            frames_TCYX, stamps, box = clip.frames(wanted, (rows, columns), box, self.resample)
            spatial = ImageRecord(
                width=width,
                height=height,
                size=(rows, columns),
                scale=((box[2] - box[0]) / columns, (box[3] - box[1]) / rows),
                offset=(box[0], box[1]),
                stride=patch,
                mode=clip.mode,
                format=clip.format,
                orientation=clip.orientation,
            )
            record = ClipRecord(
                spatial=spatial,
                wanted_s=wanted,
                times_s=stamps,
                window_s=window,
                duration_s=clip.duration_s,
                rate_hz=clip.rate_hz,
                stride=self.stem.stride[0],
                aspect=clip.aspect,
                codec=clip.codec,
            )
        pixels = frames_TCYX.transpose(0, 1).contiguous()
        return Sample("video", pixels, clip.name, record, int(np.prod(record.grid)), source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, 3, T, Y, X) when all samples have one size, else a tuple of (3, T, Y, X).

        Raises:
            ValueError: there are no samples.
        """
        return collated("video", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._cells, modality="video")

    def detokenize(self, tokens: Tokens) -> Batch:
        """uint8 frames whose tokens these are: the inverse of the tubelet projection and of the normalisation.

        Prefix tokens are dropped. Values outside 0..255 are clipped. What lies behind the last whole tubelet is lost.

        Raises:
            ValueError: the stem is no TubeletStem, or its projection has more inputs than it has independent outputs,
                so that different clips have the same tokens; or the tokens have no lattice.
        """
        if not isinstance(self.stem, TubeletStem):
            raise ValueError(f"only a TubeletStem can be inverted, and the stem is a {type(self.stem).__name__}")
        tokens, project = tokens.lattice(), self.stem.project
        rows, lattices, clips = tokens.split(), tokens.side.lattices(tokens.sequences), []
        values = projected_from(torch.cat(rows), project.weight, project.bias).split([len(row) for row in rows])
        for values_NK, lattice in zip(values, lattices, strict=True):
            boxes = values_NK.view(*lattice, 3, *self.stem.stride)
            clip = boxes.permute(3, 0, 4, 1, 5, 2, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
            scale, shift = (clip.new_tensor(numbers).view(3, 1, 1, 1) for numbers in (self.std, self.mean))
            clips.append((255 * (clip * scale + shift)).round_().clamp_(0, 255).to(torch.uint8))
        return Batch("video", in_one(clips))

    def restore(self, values: Tensor, record: ClipRecord, **options: Any) -> Tensor:
        """See :meth:`unimodal.reading.clip_record.ClipRecord.restore`."""
        return record.restore(values, **options)

    def _times(self, duration_s: float) -> tuple[tuple[float, ...], tuple[float, float]]:
        """The times to look at, and the part of the clip that they stand for, by the class's equation."""
        window = duration_s if self.window_s is None else min(duration_s, self.window_s)
        count, rate = self.frames or 0, (self.frames or 0) / window
        if self.rate_hz is not None:
            depth = self.stem.stride[0]
            fitting = max(depth, int(window * self.rate_hz * (1 + 1e-6)) // depth * depth)
            count, rate = min(fitting, self.frames or MOST + depth), self.rate_hz
        times = [duration_s / 2 + (i + 0.5 - count / 2) / rate for i in range(count)]
        half = count / rate / 2
        return tuple(min(max(t, 0.0), duration_s) for t in times), (duration_s / 2 - half, duration_s / 2 + half)

    def _cells(self, pixels: Tensor) -> Tensor:
        if not pixels.is_floating_point():
            scale = torch.tensor([1 / (255 * std) for std in self.std], device=pixels.device)
            shift = torch.tensor([-mean / std for mean, std in zip(self.mean, self.std, strict=True)]).to(scale)
            pixels = torch.mul(pixels, scale.view(3, 1, 1, 1)).add_(shift.view(3, 1, 1, 1))
        return self.stem(pixels.to(next(self.stem.parameters()).dtype))
