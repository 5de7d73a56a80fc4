"""Peer settings: what the configurations of transformers and open_clip say, in the core's words."""

from collections.abc import Mapping
from typing import Any

from unimodal.catalog import catalog
from unimodal.conversion import Published
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.stems.patch import PatchStem

__all__ = ["activation", "image_tower", "text_tower"]

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "gelu_quick",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


def activation(published: Published, name: str) -> str:
    """Our name of transformers' activation.

    Raises:
        CheckpointError: the core does not have it.
    """
    published.require("the activation", name, *_ACTIVATIONS)
    return _ACTIVATIONS[name]


def image_tower(
    published: Published,
    config: Mapping[str, Any],
    *,
    core: Part,
    prefix: int,
    readout: Part | None,
    norm: Part | None = None,
    stem_bias: bool = True,
    antialias: bool = False,
) -> Part:
    """A Model part for pictures.

    Args:
        published: Gives the picture settings.
        config: With ``hidden_size``, ``image_size`` and ``patch_size`` (px, one number or two).
        core: The transformer.
        prefix: Class and register tokens.
        readout: See :class:`unimodal.model.Model`.
        norm: Norm in front of the core, or None.
        stem_bias: Whether the patch projection has a bias.
        antialias: Whether the peer filters its position table when it shrinks it.
    """
    image, patch = _pair(config["image_size"]), _pair(config["patch_size"])
    published.require("the patch's height", patch[0], patch[1])
    published.require("num_channels", config.get("num_channels", 3), 3)
    stem = Part(PatchStem, patch=patch[0], bias=stem_bias)
    return Part(
        Model,
        dim=config["hidden_size"],
        tokenizers={"image": Part(catalog("tokenizers")["image"], stem=stem, **published.pictures)},
        positions={
            "image": Part(Learned, grid=(image[0] // patch[0], image[1] // patch[1]), antialias=antialias),
        },
        prefix=prefix,
        norm=norm,
        transformer=core,
        readout=readout,
    )


def text_tower(
    published: Published,
    *,
    dim: int,
    vocabulary: int,
    context: int,
    core: Part,
    readout: Part | None,
    causal: bool,
    pad: int | None = None,
) -> Part:
    """A Model part for texts; the arguments are those of the text tokenizer and of Model."""
    words = Part(
        catalog("tokenizers")["text"],
        vocabulary=vocabulary,
        context=context,
        encoding=published.encoding,
        causal=causal,
        pad=pad,
    )
    return Part(
        Model,
        dim=dim,
        tokenizers={"text": words},
        positions={"text": Part(Learned, grid=(context,), resample=False)},
        transformer=core,
        readout=readout,
    )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
