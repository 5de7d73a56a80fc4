"""TNT: a transformer in a transformer; 16 words of 4 px inside each patch of 16 px.

Source: Han et al. 2021, arXiv:2103.00112, table 1 (tiny 6.1 M, small 23.8 M, base 65.6 M); timm's tnt.py.

Parameters at 224 px with a classifier of 1000, which are timm's:

    tiny 6,076,408   small 23,768,584   base 65,428,680

Two differences make up for each other in these sizes: the class token's own position row is folded into it (D fewer),
and the class token has room for words that nothing reads (16 C more, and 16 C = D).
"""

from types import MappingProxyType

from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.nested_block import NestedBlock
from unimodal.norms.layer import LayerNorm
from unimodal.norms.leading import LeadingNorm
from unimodal.part import Part
from unimodal.positions.leading import LeadingPosition
from unimodal.positions.learned import Learned
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.readouts.leading import LeadingReadout
from unimodal.stems.nested_patch import NestedPatchStem
from unimodal.transformer import Transformer

__all__ = ["tnt"]

# name: width and heads of sentences, width and heads of words
_SIZES = MappingProxyType({"tiny": (192, 3, 12, 2), "small": (384, 6, 24, 4), "base": (640, 10, 40, 4)})


def tnt(
    size: str = "small",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    widths: tuple[int, int] | None = None,
    heads: tuple[int, int] | None = None,
    depth: int = 12,
    patch: int = 16,
    stride: int = 4,
    ratio: float = 4.0,
    qkv_bias: bool = False,
    readout: Part | None = Part(ClassToken),
) -> Part:
    """A Model part for pictures. Its tokens are sentences with their words behind them.

    Args:
        size: tiny, small or base.
        image: Side of the pictures in px; others are served by resampling the positions of patches.
        classes: Outputs of a classifier behind ``readout``, or None.
        drop_path: Stochastic depth of the last block.
        widths: Of a sentence and of a word, instead of the size's.
        heads: Of sentences and of words, instead of the size's.
        depth: Blocks.
        patch: Side of a patch in px.
        stride: Distance of words in px.
        ratio: Hidden width of the sentences' feed-forward over its width.
        qkv_bias: Whether queries, keys and values have a bias.
        readout: Turns the sentences into one vector, or None.

    Raises:
        ValueError: an unknown size, or an image that is no multiple of the patch.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image % patch:
        raise ValueError(f"image must be a multiple of patch {patch} px, not {image}")
    (width, inner), (outer_heads, inner_heads) = widths or _SIZES[size][::2], heads or _SIZES[size][1::2]
    words, norm, grid = (patch // stride) ** 2, Part(LayerNorm, eps=1e-5), (image // patch, image // patch)
    inner_block, outer_block = (
        Part(Block, mixer=Part(Full, heads=h, bias=qkv_bias), ffn=Part(Plain, ratio=r), norm=norm)
        for h, r in ((inner_heads, 4.0), (outer_heads, ratio))
    )
    block = Part(NestedBlock, width=width, words=words, inner=inner_block, outer=outer_block, norm=norm)
    if classes is not None:
        readout = Part(Head, pool=readout or Part(ClassToken), width=classes)
    stem = Part(NestedPatchStem, width=width, patch=patch, stride=stride)
    return Part(
        Model,
        dim=width + words * inner,
        tokenizers={"image": Part(catalog("tokenizers")["image"], stem=stem, size=image, crop_fraction=0.9)},
        positions={"image": Part(LeadingPosition, width=width, position=Part(Learned, grid=grid))},
        prefix=1,
        transformer=Part(
            Transformer,
            depth=depth,
            blocks=block,
            drop_path=drop_path,
            norm=Part(LeadingNorm, width=width, norm=norm),
        ),
        readout=None if readout is None else Part(LeadingReadout, width=width, readout=readout),
    )
