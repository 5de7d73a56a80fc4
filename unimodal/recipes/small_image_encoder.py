"""Small image encoder: a convolution stem of stride 4 and four pre-norm blocks; the shared encoder that ships.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929 (blocks); Xiao et al. 2021, arXiv:2106.14881 (convolution stem).
"""

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.mean import Mean
from unimodal.stems.convolution import ConvolutionStem
from unimodal.tokenizers.image import Image
from unimodal.transformer import Transformer

__all__ = ["small_image_encoder"]


def small_image_encoder(*, dim: int = 128, depth: int = 4, heads: int = 4, widths: tuple[int, ...] = (32, 96)) -> Part:
    """The Part of a :class:`~unimodal.model.Model` of about a million parameters; call it without sizes.

    Args:
        dim: Width of the core.
        depth: Blocks.
        heads: Attention heads.
        widths: Channels of the stem's stages; the stride is 2 to the power of their number.
    """
    return Part(
        Model,
        dim=dim,
        tokenizers={
            "image": Part(
                Image,
                stem=Part(ConvolutionStem, widths=widths),
                size=32,
                fit="crop",
                mean=(0.4914, 0.4822, 0.4465),
                std=(0.2470, 0.2435, 0.2616),
            )
        },
        positions={"image": Part(Learned, grid=(8, 8))},
        transformer=Part(
            Transformer,
            depth=depth,
            blocks=Part(Block, mixer=Part(Full, heads=heads), ffn=Part(Plain)),
            norm=Part(LayerNorm),
        ),
        readout=Part(Mean),
    )
