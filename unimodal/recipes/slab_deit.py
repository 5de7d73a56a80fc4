"""SLAB-DeiT: a small vision transformer with linear attention whose norms slide to batch norms and fold away.

Source: Guo et al. 2024, arXiv:2405.11582, table 1; sizes and numbers: github.com/xinghaochen/SLAB,
classification/models/slab_deit.py.

Parameters in training, with both norms everywhere and a classifier of 1000. The released code counts D more, for a
class token that nothing reads:

    tiny 6,198,209   small 22,992,257
"""

from types import MappingProxyType

from unimodal.attention.simplified_linear import SimplifiedLinearAttention
from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import COLOURS
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

__all__ = ["slab_deit"]

# name: width, depth, heads, hidden width
_SIZES = MappingProxyType({"tiny": (192, 12, 3, 768), "small": (384, 12, 6, 1536)})


def slab_deit(
    size: str = "tiny",
    *,
    patch: int = 16,
    image: int = 224,
    classes: int | None = None,
    steps: int = 60_000,
    drop_path: float = 0.0,
) -> Part:
    """A Model part for pictures; once it is trained, :func:`unimodal.fold_norms.fold_norms` takes its norms away.

    There is no class token: the classifier reads the average of all tokens. Where the released code has 1e-6 in its
    layer norms and 1e-5 in its batch norms, both have 1e-5 here.

    Args:
        size: tiny or small.
        patch: Patch size in px.
        image: Side of the pictures in px; others are served by resampling the tables of places.
        classes: Outputs of a classifier, or None for the averaged tokens.
        steps: Training steps until the layer norms are gone.
        drop_path: Stochastic depth of the last block.

    Raises:
        ValueError: an unknown size, or an image that is no multiple of the patch.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image % patch:
        raise ValueError(f"image must be a multiple of patch {patch} px, not {image}")
    dim, depth, heads, hidden = _SIZES[size]
    grid = (image // patch, image // patch)
    norm = Part(ProgressiveBatchNorm, steps=steps)
    attention = Part(SimplifiedLinearAttention, heads=heads, width=dim // heads, grid=grid)
    block = Part(Block, mixer=Part(Full, heads=heads, attention=attention), ffn=Part(Plain, hidden=hidden), norm=norm)
    return Part(
        Model,
        dim=dim,
        tokenizers={
            "image": Part(
                catalog("tokenizers")["image"],
                stem=Part(PatchStem, patch=patch),
                size=image,
                **COLOURS,
                crop_fraction=0.875,
            )
        },
        positions={"image": Part(Learned, grid=grid)},
        transformer=Part(Transformer, depth=depth, blocks=block, drop_path=drop_path, norm=norm),
        readout=Part(Mean) if classes is None else Part(Head, pool=Part(Mean), width=classes),
    )
