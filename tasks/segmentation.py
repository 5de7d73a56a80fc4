"""Semantic segmentation: one class for every pixel, from a dense head on the frozen shared encoder.

Source: Long et al. 2014, arXiv:1411.4038 (dense prediction from classification features, upsampled bilinearly); levels
of a pyramid side by side: Hariharan et al. 2014, arXiv:1411.5752 (hypercolumns).
Axes: B pictures, D encoder width, K classes, Y rows, X columns.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.data.label_map import read_label_map
from unimodal.data.labelled import masked_pictures
from unimodal.lattice import as_map
from unimodal.metrics import ConfusionMatrix, Metric
from unimodal.model import Model
from unimodal.part import Part
from unimodal.sample import Batch, Sample
from unimodal.tasks.parts.dense_head import DenseHead
from unimodal.tasks.parts.segments import SegmentPrediction, distinct_colours
from unimodal.windows import join_windows, split_windows

__all__ = ["Segmentation"]


class SegmentationModule(nn.Module):
    """scores = head(concatenated features of several depths), upsampled to the pixels; the encoder frozen.

    Args:
        encoder: It stays in eval mode and gets no gradient.
        classes: Names of the K classes.
        colours: One (red, green, blue) a class, 0..255; None means colours that are easy to tell apart.
        weights: A factor a class in the loss, or None for 1.
        size: Pictures are shrunk until they lie within (rows, columns) px.
        window: The core sees windows of (rows, columns) tokens, the lattice it was trained on, so that its features
            are those it learned and the cost grows linearly with the picture; the head looks across windows. A pyramid
            sees the whole picture.
        depths: Blocks, of a pyramid stages, after which features are taken; 0 is before the first.
        head: The head, built with the number of channels and of classes.
    """

    def __init__(
        self,
        encoder: Model,
        *,
        classes: Sequence[str],
        colours: Sequence[Sequence[int]] | None,
        weights: Sequence[float] | None,
        size: tuple[int, int],
        window: tuple[int, int],
        depths: Sequence[int],
        head: Part,
    ) -> None:
        super().__init__()
        if not classes or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be different names, at least one, not {tuple(classes)}")
        for name, given in (("colours", colours), ("weights", weights)):
            if given is not None and len(given) != len(classes):
                raise ValueError(f"{name} must have one entry a class ({len(classes)}), not {len(given)}")
        self.encoder = encoder.eval().requires_grad_(False)
        self.depths, self.window = tuple(depths), window
        self.options = {
            "classes": list(classes),
            "colours": [list(c) for c in colours or distinct_colours(len(classes))],
            "weights": None if weights is None else list(weights),
            "size": list(size),
            "window": list(window),
            "depths": list(depths),
        }
        core: Any = encoder.transformer
        self.pyramid = hasattr(core, "widths")
        if self.pyramid and not set(depths) <= set(range(len(core.widths))):
            raise ValueError(f"depths must be within 0..{len(core.widths) - 1}, not {self.depths}")
        widths = [core.widths[depth] if self.pyramid else encoder.dim for depth in self.depths]
        self.head = head(sum(widths), len(classes))

    def train(self, mode: bool = True) -> "SegmentationModule":
        super().train(mode)
        self.encoder.eval()
        return self

    def features(self, batch: Batch) -> Tensor:
        """(B, D of all depths, Y, X) features of pictures of one size, on the finest lattice of these depths."""
        if self.pyramid:
            return self._of_stages(batch)
        tokens: Any = self.encoder.tokenizer(batch.modality)(batch)
        grid = tokens.side.lattices(1)[0]
        placed = self.encoder.place(split_windows(tokens, self.window), batch.modality)
        levels = self.encoder.transformer.features(placed, self.depths)
        return join_windows(torch.cat([level.lattice().x for level in levels], -1), self.window, grid)

    def _of_stages(self, batch: Batch) -> Tensor:
        """A picture smaller than the coarsest cell is filled up with its last pixels; their cells are cut off again."""
        strides, pixels = cast(tuple[int, ...], self.encoder.strides(batch.modality)), cast(Tensor, batch.data)
        sizes, least, finest = pixels.shape[-2:], strides[-1], min(strides[depth] for depth in self.depths)
        rows, columns = (torch.arange(max(n, least)).clamp_max(n - 1) for n in sizes)
        small = min(sizes) < least
        batch = Batch(batch.modality, pixels[..., rows, :][..., columns]) if small else batch
        levels = [level.lattice() for level in self.encoder.features(batch, self.depths)]
        grids: Any = [level.side.lattices(1)[0] for level in levels]
        maps = [as_map(level.x, grid) for level, grid in zip(levels, grids, strict=True)]
        joined = torch.cat([F.interpolate(m, size=max(grids), mode="bilinear") for m in maps], 1)
        return joined[..., : -(-sizes[0] // finest), : -(-sizes[1] // finest)] if small else joined

    def forward(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            features = self.features(batch)
        return self.head(features)


class Segmentation:
    """What is where in the picture: a class for every pixel.

    Data sets: a folder with ``images/NAME.*`` and ``masks/NAME.png``, or a CSV or Parquet table with the columns
    ``image`` and ``mask`` (paths or encoded bytes). A mask has one channel of class indices and the size of its
    picture; an index that is no class (255, say) is void and counts nowhere.
    """

    name: ClassVar[str] = "segmentation"
    title: ClassVar[str] = "Semantic segmentation"
    summary: ClassVar[str] = "What is where in the picture: one class for every pixel."
    inputs: ClassVar[tuple[str, ...]] = ("image",)
    outputs: ClassVar[tuple[str, ...]] = ("segments", "classes")
    encoder: ClassVar[str] = "small_multimodal_encoder"
    weights: ClassVar[str | None] = "segmentation_camvid"

    def __init__(self, module: SegmentationModule) -> None:
        self.module = module
        self.classes: tuple[str, ...] = tuple(module.options["classes"])
        tokenizer: Any = module.encoder.tokenizer("image")
        self.tokenizer = tokenizer.refit(size=tuple(module.options["size"]), fit="inside")

    @staticmethod
    def build(
        encoder: Model,
        *,
        classes: Sequence[str] = ("background", "object"),
        colours: Sequence[Sequence[int]] | None = None,
        weights: Sequence[float] | None = None,
        size: Sequence[int] = (240, 240),
        window: Sequence[int] = (8, 8),
        depths: Sequence[int] | None = None,
    ) -> SegmentationModule:
        """A dense head over ``classes`` on a frozen encoder.

        Depths default to before, half way and the end; of a pyramid to all stages.
        """
        core: Any = encoder.transformer
        if depths is None and hasattr(core, "widths"):
            depths = tuple(range(1, len(core.widths)))
        whole = getattr(core, "depth", 0)
        return SegmentationModule(
            encoder,
            classes=classes,
            colours=colours,
            weights=weights,
            size=(size[0], size[1]),
            window=(window[0], window[1]),
            depths=(0, whole // 2, whole) if depths is None else depths,
            head=Part(DenseHead),
        )

    def read(self, source: Any) -> Sample:
        """Decode one picture."""
        return self.tokenizer.read(source)

    def predict(self, samples: Sequence[Sample]) -> list[SegmentPrediction]:
        """A label map for each picture, in its own pixels."""
        predictions = []
        for sample in samples:  # one by one: sizes differ, and a picture is plenty of work
            with torch.inference_mode():
                scores_KYX = self.module(self._batch([sample]))[0].float().cpu()
            labels = sample.record.restore(scores_KYX).argmax(0).to(torch.uint8).numpy()
            colours = self.module.options["colours"]
            predictions.append(
                SegmentPrediction(
                    sample.source, labels, self.classes, colours, sample.original, self.tokenizer.pixel_limit
                )
            )
        return predictions

    def labelled(self, path: Path) -> Sequence[tuple[Any, Any]]:
        """(picture, mask) pairs."""
        return masked_pictures(path)

    def loss(self, samples: Sequence[Sample], targets: Sequence[Any]) -> Tensor:
        """Weighted cross-entropy over the pixels that are not void, each picture mirrored half of the time."""
        weights = self.module.options["weights"]
        total, pixels = [], 0
        for sample, target in zip(samples, targets, strict=True):
            labels_YX = torch.from_numpy(read_label_map(target, size=sample.record.size)).long()
            data = sample.data
            if self.module.training and torch.rand(()) < 0.5:
                labels_YX, data = labels_YX.flip(-1), data.flip(-1)
            scores = self.module(Batch("image", data[None].to(self._device), (sample.record,)))
            scores = F.interpolate(scores, size=labels_YX.shape, mode="bilinear")
            labels_YX = labels_YX.masked_fill(labels_YX >= len(self.classes), -1).to(scores.device)
            weight = None if weights is None else torch.tensor(weights, device=scores.device)
            total.append(F.cross_entropy(scores, labels_YX[None], weight, ignore_index=-1, reduction="sum"))
            counted = labels_YX[labels_YX >= 0]
            pixels += counted.numel() if weight is None else weight[counted].sum()
        return torch.stack(total).sum() / max(pixels, 1)

    def metrics(self) -> dict[str, Metric]:
        """Mean intersection over union, and pixel accuracy."""
        return {
            figure: ConfusionMatrix(len(self.classes), lambda p: p.labels, read_label_map, figure=figure)
            for figure in ("mean_iou", "pixel_accuracy")
        }

    @staticmethod
    def examples() -> list[Path]:
        """Sample street scenes that ship with the suite."""
        return sorted(Path(str(resources.files("unimodal") / "data" / "samples")).glob("street_*.jpg"))

    @property
    def _device(self) -> torch.device:
        return self.module.head.score.weight.device

    def _batch(self, samples: Sequence[Sample]) -> Batch:
        return self.tokenizer.collate(samples).to(self._device)
