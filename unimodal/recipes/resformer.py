"""ResFormer: a vision transformer for pictures of any size, with conditional positions instead of a table.

Source: Tian et al. 2023, arXiv:2212.00776, sec. 3.3; sizes: Touvron et al. 2020, arXiv:2012.12877, table 1; layer norm
eps and the order of parts: github.com/ruitian12/resformer, image_classification/models.py.

Parameters with a classifier of 1,000 classes, as released:

    tiny 5,689,192   small 21,986,536   base 86,431,720
"""

from types import MappingProxyType

from unimodal.attention.local_values import LocalValues
from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.convolved_waves import ConvolvedWaves
from unimodal.readouts.class_token import ClassToken
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

__all__ = ["resformer"]

# name: width, heads
_SIZES = MappingProxyType({"tiny": (192, 3), "small": (384, 6), "base": (768, 12)})


def resformer(
    size: str = "tiny",
    *,
    patch: int = 16,
    image: int = 224,
    depth: int = 12,
    drop_path: float = 0.0,
    readout: Part | None = Part(ClassToken),
) -> Part:
    """A Model part for pictures.

    Args:
        size: tiny, small or base.
        patch: Patch size in px.
        image: Side that the tokenizer brings pictures to, in px; the model takes any multiple of the patch.
        depth: Blocks.
        drop_path: Stochastic depth of the last block.
        readout: Turns the tokens into one vector, or None.

    Raises:
        ValueError: an unknown size.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    dim, heads = _SIZES[size]
    mixer = Part(Full, heads=heads, attention=Part(LocalValues, width=dim // heads))
    block = Part(Block, mixer=mixer, ffn=Part(Plain, hidden=4 * dim), norm=Part(LayerNorm))
    return Part(
        Model,
        dim=dim,
        tokenizers={"image": Part(catalog("tokenizers")["image"], size=image, stem=Part(PatchStem, patch=patch))},
        positions={"image": Part(ConvolvedWaves)},
        prefix=1,
        transformer=Part(Transformer, depth=depth, blocks=block, drop_path=drop_path, norm=Part(LayerNorm)),
        readout=readout,
    )
