"""Uni4Eye: one vision transformer for pictures and volumes, pretrained by filling in what was hidden of either.

Source: Cai et al. 2022, arXiv:2203.04614; widths and depths: Dosovitskiy et al. 2020, arXiv:2010.11929, table 1; boxes
of 16 x 16 x 16 voxels, and 4 x 7 x 4 of them in a volume: the follow-up's released code,
github.com/Davidczy/Uni4Eye_pp, PatchEmbed23D.py and engine_pretrain.py.

    task = MaskedModelling(768)          # two decoders of 8 blocks, width 512: pixels and gradient map
    loss = task(model, batch)            # of "image" or of "ct": one modality a batch

Parameters of the encoder, of which the embedding of volumes has the second number, and of the two decoders together:

    base   88,793,856   3,146,496   56,219,136
    large 307,295,232   4,195,328   56,481,280
"""

from types import MappingProxyType

from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.sincos import SinCos
from unimodal.readouts.class_token import ClassToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokenizers.ct import CT
from unimodal.tokenizers.image import Image

__all__ = ["uni4eye"]

# name: width, depth, heads
_SIZES = MappingProxyType({"base": (768, 12, 12), "large": (1024, 24, 16)})


def uni4eye(
    size: str = "base",
    *,
    image: int = 224,
    volume: tuple[int, int, int] = (64, 112, 64),
    readout: Part | None = Part(ClassToken),
) -> Part:
    """A Model part for colour pictures ("image") and grey volumes ("ct"), each with a projection of its own.

    The paper's unified patch embedding is the choice between the two tokenizers: a batch holds one modality, and the
    other's projection has no part in it. Volumes have one channel (in the released code three), and the waves of their
    positions run along all three axes (there the table of volumes is left at zero).

    Pretraining is :class:`~unimodal.objectives.masked_modelling.MaskedModelling` with its defaults.

    Args:
        size: base or large.
        image: Side that the tokenizer brings pictures to, in px.
        volume: The most voxels (z, y, x) of a volume's working grid.
        readout: Turns the tokens into one vector, or None.

    Raises:
        ValueError: an unknown size.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    dim, depth, heads = _SIZES[size]
    return Part(
        Model,
        dim=dim,
        tokenizers={
            "image": Part(Image, size=image, stem=Part(PatchStem, patch=16)),
            "ct": Part(CT, size=volume, stem=Part(TubeletStem, patch=(16, 16, 16), channels=1)),
        },
        positions={"image": Part(SinCos), "ct": Part(SinCos)},
        prefix=1,
        transformer=pre_norm(depth=depth, heads=heads, hidden=4 * dim),
        readout=readout,
    )
