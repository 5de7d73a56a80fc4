"""What the converter tests share: peers with random weights everywhere, pictures, and the comparison."""

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unimodal.sample import Batch


@pytest.fixture
def randomise() -> Callable[[Any], Any]:
    """Give every parameter (also those that start at zero or one) a random value; norms and scales stay near one.

    Statistics of batch norms too: none is left at a mean of zero and a variance of one.
    """

    def randomise(peer: Any) -> Any:
        for name, parameter in peer.named_parameters():
            gain = parameter.ndim == 1 and not name.endswith("bias") and "class_embedding" not in name
            torch.nn.init.normal_(parameter, 1.0 if gain else 0.0, 0.2)
        for name, statistic in peer.named_buffers():
            if name.endswith("running_mean"):
                torch.nn.init.normal_(statistic, std=0.2)
            elif name.endswith("running_var"):
                torch.nn.init.uniform_(statistic, 0.5, 2.0)
        return peer.eval()

    return randomise


@pytest.fixture
def saved_by_timm(tmp_path, randomise) -> Callable[..., tuple[Any, str]]:
    """A network of timm with random weights, and what loads the files that timm's own export writes of it."""

    def saved_by_timm(architecture: str, **settings: Any) -> tuple[Any, str]:
        import timm

        peer = randomise(timm.create_model(architecture, **settings))
        timm.models.save_for_hf(peer, tmp_path, model_args=settings, safe_serialization=True)
        return peer, f"timm:{tmp_path}"

    return saved_by_timm


@pytest.fixture
def pixels() -> Callable[..., Batch]:
    """A batch of normalised pixels: images, rows, columns."""

    def pixels(images: int, rows: int, columns: int) -> Batch:
        return Batch("image", torch.randn(images, 3, rows, columns))

    return pixels


@pytest.fixture
def same() -> Callable[[Tensor, Tensor], None]:
    """Equal to 1e-5 of the largest value: float32 keeps 6e-8 of it a step, and a few hundred steps add up."""

    def same(ours: Tensor, theirs: Tensor) -> None:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())

    return same


@pytest.fixture
def parity(request, same) -> Callable[..., None]:
    """As ``same``, and the figure goes into the table of docs/published.md when UNIMODAL_PARITY names a file for it.

    Args:
        family: What people call the model ("AST").
        modality: Of its inputs.
        hub: A published name that goes through this converter, as :func:`unimodal.load` takes it.
    """

    def parity(family: str, modality: str, hub: str, ours: Tensor, theirs: Tensor) -> None:
        same(ours, theirs)
        gap = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        if file := os.environ.get("UNIMODAL_PARITY"):
            converter = request.node.path.stem.removeprefix("test_")
            row = {"family": family, "modality": modality, "hub": hub, "converter": converter, "gap": gap}
            with open(file, "a", encoding="utf-8") as rows:
                rows.write(json.dumps(row) + "\n")

    return parity


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """420 x 336 px with the spectrum of a photo (amplitude falls as frequency to the -1.5), three tinted planes.

    Scaled to 224 or 256 px high it is a whole number of pixels wide (280, 320) and has a whole margin.
    """
    noise = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(336)[:, None], np.fft.fftfreq(420)[None]
    amplitude = np.maximum(np.hypot(rows, columns), 1 / 420) ** -1.5
    planes = [np.fft.ifft2(np.fft.fft2(noise.standard_normal((336, 420))) * amplitude).real for _ in range(3)]
    scaled = [128 + 48 * (p + 0.7 * planes[0]) / (p + 0.7 * planes[0]).std() for p in planes]
    return Image.fromarray(np.clip(np.stack(scaled, -1), 0, 255).astype(np.uint8))


@pytest.fixture
def normalised(photo: Image.Image) -> Callable[[Any], Tensor]:
    """The photo as ours presents it to its stem, (1, 3, rows, columns)."""

    def normalised(model: Any) -> Tensor:
        image = model.tokenizers["image"]
        uint8 = image.collate([image.read(photo)]).data.float() / 255
        return (uint8 - torch.tensor(image.mean).view(3, 1, 1)) / torch.tensor(image.std).view(3, 1, 1)

    return normalised
