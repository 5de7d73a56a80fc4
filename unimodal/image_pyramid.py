"""Image pyramid: a model of pictures whose core is a pyramid, as published for ImageNet.

Source: mean and spread of ImageNet's colours, and the middle 7/8 of a picture: He et al. 2015, arXiv:1512.03385, sec.
3.4, in the form that torchvision and timm give them.
"""

from types import MappingProxyType
from typing import Any

from unimodal.catalog import catalog
from unimodal.model import Model
from unimodal.part import Part
from unimodal.pyramid import Pyramid

__all__ = ["COLOURS", "image_pyramid"]

COLOURS = MappingProxyType({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)})


def image_pyramid(
    dim: int,
    *,
    stem: Part,
    stages: tuple[Part, ...],
    between: tuple[Part, ...],
    image: int,
    norm: Part | None = None,
    readout: Part | None = None,
    **pictures: Any,
) -> Part:
    """A Model part: pictures -> stem -> norm -> stages with what lies between them -> readout.

    Args:
        dim: Width of the first stage.
        stem: Cuts a picture into the first stage's tokens.
        stages: A core part a stage.
        between: Parts between them, one fewer.
        image: Side of the pictures in px; a pyramid reads any.
        norm: Norm behind the stem, or None.
        readout: Turns the last stage's tokens into one vector, or None.
        pictures: Further keywords of the image tokenizer; they stand before those of ImageNet.
    """
    given = {"size": image, "crop_fraction": 0.875, **COLOURS, **pictures}
    return Part(
        Model,
        dim=dim,
        tokenizers={"image": Part(catalog("tokenizers")["image"], stem=stem, **given)},
        norm=norm,
        transformer=Part(Pyramid, stages=stages, between=between),
        readout=readout,
    )
