"""ViT: a plain vision transformer of a published size.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, table 1 (base 86 M, large 307 M, huge 632 M); tiny and small: Touvron
et al. 2020, arXiv:2012.12877, table 1 (5 M, 22 M); giant: Zhai et al. 2021, arXiv:2106.04560, table 2 (1843 M).

Parameters of the encoder with 16 px patches at 224 px (huge: 14 px), without a classifier. Ours has D fewer than the
published code's, because the class token's own position row is folded into the token:

    tiny 5,524,416   small 21,665,664   base 85,798,656   large 303,301,632   huge 630,764,800
"""

from types import MappingProxyType

from unimodal.catalog import catalog
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.class_token import ClassToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.stems.patch import PatchStem

__all__ = ["vit"]

# name: width, depth, heads, hidden width
_SIZES = MappingProxyType(
    {
        "tiny": (192, 12, 3, 768),
        "small": (384, 12, 6, 1536),
        "base": (768, 12, 12, 3072),
        "large": (1024, 24, 16, 4096),
        "huge": (1280, 32, 16, 5120),
        "giant": (1664, 48, 16, 8192),
    }
)


def vit(
    size: str = "tiny",
    *,
    patch: int = 16,
    image: int = 224,
    registers: int = 0,
    layer_scale: float | None = None,
    drop_path: float = 0.0,
    stem: Part | None = None,
    readout: Part | None = Part(ClassToken),
) -> Part:
    """A Model part for pictures.

    Args:
        size: tiny, small, base, large, huge or giant.
        patch: Patch size in px; with another ``stem``, its stride.
        image: Side of the pictures in px; others are served by resampling the position table.
        registers: Further prefix tokens behind the class token.
        layer_scale: Initial value of the trained factors on the branches, or None.
        drop_path: Stochastic depth of the last block.
        stem: What cuts the picture into tokens, or None for patches.
        readout: Turns the tokens into one vector, or None.

    Raises:
        ValueError: an unknown size, or an image that is no multiple of the patch.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image % patch:
        raise ValueError(f"image must be a multiple of patch {patch} px, not {image}")
    dim, depth, heads, hidden = _SIZES[size]
    cells = image // patch
    return Part(
        Model,
        dim=dim,
        tokenizers={
            "image": Part(catalog("tokenizers")["image"], size=image, stem=stem or Part(PatchStem, patch=patch))
        },
        positions={"image": Part(Learned, grid=(cells, cells))},
        prefix=1 + registers,
        transformer=pre_norm(depth=depth, heads=heads, hidden=hidden, layer_scale=layer_scale, drop_path=drop_path),
        readout=readout,
    )
