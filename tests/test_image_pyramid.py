"""The image pyramid: what it puts together, and which settings of pictures stand."""

from unimodal.downsampling import Downsampling
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import COLOURS, image_pyramid
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

STAGE = Part(Transformer, depth=1, blocks=Part(Residual, branch=(Part(Plain),)))


def test_its_parts_are_the_ones_given():
    stem, between = Part(PatchStem, patch=4), (Part(Downsampling, width=8),)
    part = image_pyramid(4, stem=stem, stages=(STAGE, STAGE), between=between, image=64, norm=Part(LayerNorm))
    model = part.replace(readout=Part(Mean))()
    assert Part.from_json(part.to_json()) == part
    assert (model.dim, model.transformer.widths) == (8, (4, 4, 8))
    assert model.norm is not None


def test_pictures_are_those_of_imagenet_unless_they_are_given():
    plain, other = (
        image_pyramid(4, stem=Part(PatchStem), stages=(STAGE,), between=(), image=64, **pictures)
        for pictures in ({}, {"crop_fraction": 1.0, "mean": (0.5, 0.5, 0.5)})
    )
    first, second = (part.kwargs["tokenizers"]["image"].kwargs for part in (plain, other))
    assert (first["size"], first["crop_fraction"], first["mean"]) == (64, 0.875, COLOURS["mean"])
    assert (second["crop_fraction"], second["mean"], second["std"]) == (1.0, (0.5, 0.5, 0.5), COLOURS["std"])
