"""Universal segmenter: the parts of Mask2Former around any pyramid.

Source: Cheng et al. 2021, arXiv:2112.01527, sec. 4.1 (sizes); released code: github.com/facebookresearch/Mask2Former.

Parameters with Swin tiny and 80 classes: 47,421,643, those of transformers' Mask2Former without the
1,536 of a norm that it does not use.
"""

from unimodal.block import Block
from unimodal.chain import Chain
from unimodal.ffns.plain import Plain
from unimodal.learned_queries import LearnedQueries
from unimodal.mask_transformer import MaskTransformer
from unimodal.mixers.deformable import Deformable
from unimodal.mixers.located import Located
from unimodal.mixers.located_queries import LocatedQueries
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.pixel_decoder import PixelDecoder
from unimodal.segmenter import Segmenter
from unimodal.without_memory import WithoutMemory

__all__ = ["universal_segmenter"]


def universal_segmenter(
    encoder: Part,
    *,
    classes: int,
    queries: int = 100,
    width: int = 256,
    fine_width: int | None = None,
    query_width: int | None = None,
    projected: bool | None = None,
    heads: int = 8,
    depths: tuple[int, int] = (6, 9),
    hidden: tuple[int, int] = (1024, 2048),
    groups: int = 32,
    activation: str = "relu",
    norm: Part | None = None,
) -> Part:
    """A Segmenter part: three levels through deformable attention, then queries through masked attention.

    Args:
        encoder: A Model part whose core is a pyramid of four stages.
        classes: Classes of objects and of background; one more logit is of no object.
        queries: How many things a picture may show.
        width: Of the pixel decoder.
        fine_width: Of its mask features, or None for its width.
        query_width: Of the queries, or None for the pixel decoder's.
        projected: Whether levels pass a linear map in front of the queries; None means where the widths differ.
        heads: Of all attentions.
        depths: Blocks of the pixel decoder and of the queries.
        hidden: Widths of their feed-forwards.
        groups: Groups of channels in the norms of maps.
        activation: Of the queries' feed-forwards.
        norm: A norm of each of the encoder's features, or None.
    """
    layer = Part(LayerNorm, eps=1e-5)
    among_pixels = Part(LocatedQueries, mixer=Part(Deformable, heads=heads, levels=3))
    feed = Part(Plain, hidden=hidden[0], activation="relu")
    level_block = Part(Block, mixer=among_pixels, ffn=feed, norm=layer, layout="post")
    reading = Part(Block, mixer=Part(Located, heads=heads), ffn=None, norm=layer, layout="post")
    among_queries = reading.replace(ffn=Part(Plain, hidden=hidden[1], activation=activation))
    return Part(
        Segmenter,
        encoder=encoder,
        norm=norm,
        pixels=Part(
            PixelDecoder, block=level_block, depth=depths[0], width=width, fine_width=fine_width, groups=groups
        ),
        masks=Part(
            MaskTransformer,
            classes=classes,
            queries=Part(LearnedQueries, count=queries),
            block=Part(Chain, parts=(reading, Part(WithoutMemory, part=among_queries))),
            depth=depths[1],
            width=query_width,
            projected=projected,
        ),
    )
