"""ViT-CoMer: a plain vision transformer as it was, and a convolutional pyramid that speaks with it both ways.

Source: Xia et al. 2024, arXiv:2403.07392; numbers: released code, github.com/Traffic-X/ViT-CoMer, detection,
vit_comer.py, comer_modules.py and configs/mask_rcnn.

Parameters beside the encoder's, and with it, as the released code has them (with D more of a class token's position):

    tiny 3,211,232 8,739,488    small 8,333,408 30,006,752
    base 29,418,368 115,232,384    large 51,134,528 354,481,216

Released for detection are small, and base with ``value_ratio`` 0.5. Those for segmentation are ``staged``: tiny with
``spread_ratio`` 6, small with 1.5, base with 1 and ``value_ratio`` 0.5.
"""

from types import MappingProxyType

from unimodal.accompanied import Accompanied
from unimodal.chain import Chain
from unimodal.channel_split import ChannelSplit
from unimodal.downsampling import Downsampling
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.image_pyramid import COLOURS
from unimodal.levelwise import Levelwise
from unimodal.max_pooling import MaxPooling
from unimodal.mixers.deformable import Deformable
from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.pyramid import Pyramid
from unimodal.pyramid_adapter import PyramidAdapter
from unimodal.readouts.mean import Mean
from unimodal.recipes.vit import vit
from unimodal.residual import Residual
from unimodal.stems.convolution_stack import ConvolutionStackStem
from unimodal.transformer import Transformer

__all__ = ["vit_comer"]

# heads of the deformable attention
_HEADS = MappingProxyType({"tiny": 6, "small": 6, "base": 12, "large": 16})


def vit_comer(
    size: str = "tiny",
    *,
    image: int = 224,
    encoder: Part | None = None,
    heads: int | None = None,
    points: int = 4,
    value_ratio: float = 1.0,
    spread_ratio: float = 0.5,
    feed_ratio: float = 0.25,
    width: int = 64,
    stages: int = 4,
    extra: int = 4,
    staged: bool = False,
    drop_path: float = 0.0,
) -> Part:
    """A Model part for pictures: ``features(batch, [1, 2, 3, 4])`` is the pyramid of strides 4, 8, 16 and 32 px.

    Args:
        size: tiny, small, base or large.
        image: Side of the pictures in px, of the position table; others are served by resampling it.
        encoder: A Model part with a Transformer that reads pictures, or None for a ViT of ``size`` as in the released
            code: with layer scales of 1, without class token and last norm; its readout is the mean.
        heads: Of the deformable attention, or None for those of ``size``.
        points: That a head reads in each level.
        value_ratio: Width of the values in that of the tokens.
        spread_ratio: Width of the convolutions at the start of a stage in that of the tokens.
        feed_ratio: Width of those behind an attention.
        width: Of the branch's first convolutions.
        stages: Exchanges with the encoder, at equal distances.
        extra: Exchanges behind it.
        staged: See :class:`unimodal.pyramid_adapter.PyramidAdapter`.
        drop_path: Stochastic depth of the encoder's last block (of a ViT of ``size``) and of all feed-forwards of the
            exchanges.

    Raises:
        ValueError: an unknown size; an encoder that does not read pictures; what the parts refuse.
    """
    if size not in _HEADS:
        raise ValueError(f"size must be one of {', '.join(_HEADS)}, not {size!r}")
    if encoder is None:
        plain = vit(size, image=image, layer_scale=1.0, drop_path=drop_path, readout=Part(Mean))
        core = plain.kwargs["transformer"].replace(norm=None)
        pictures = plain.kwargs["tokenizers"]["image"].replace(crop_fraction=0.875, **COLOURS)
        table = plain.kwargs["positions"]["image"].replace(antialias=False)
        encoder = plain.replace(prefix=0, transformer=core, tokenizers={"image": pictures}, positions={"image": table})
    given = encoder.kwargs
    if "image" not in given["tokenizers"]:
        raise ValueError(f"encoder must read pictures, not {', '.join(given['tokenizers'])}")
    tokenizer, dim = given["tokenizers"]["image"], given["dim"]
    stem = Part(ConvolutionStackStem, widths=(width, width), strides=(2, 1, 1), activated=False)
    beside = tokenizer.replace(stem=stem)
    pair = Part(Accompanied, tokenizer=tokenizer, beside=beside, width=width)
    adapter = Part(
        PyramidAdapter,
        core=given["transformer"],
        branch=_branch(width),
        width=width,
        spread=_spread(int(dim * spread_ratio), dim),
        mixer=Part(
            Deformable, heads=_HEADS[size] if heads is None else heads, levels=3, points=points, value_ratio=value_ratio
        ),
        feed=_feed(int(dim * feed_ratio), dim, drop_path),
        stages=stages,
        extra=extra,
        staged=staged,
    )
    return encoder.replace(tokenizers={**given["tokenizers"], "image": pair}, transformer=adapter)


def _branch(width: int) -> Part:
    """Convolutions with stride 2 behind a max pooling. It and relu may change places, so relu comes after it."""
    relu = Part(Transformer, depth=1, blocks=Part(Activated, activation="relu"))
    halved = (Part(Downsampling, width=n * width, behind=Part(BatchNorm), bias=False) for n in (2, 4, 4))
    return Part(Pyramid, stages=(relu,) * 5, between=(Part(MaxPooling), *halved))


def _spread(hidden: int, dim: int) -> Part:
    """Two kernels on halves of the channels, of each level its own."""
    halves = Part(ChannelSplit, parts=(Part(Depthwise, kernel=3), Part(Depthwise, kernel=5)))
    level = Part(Chain, parts=(halves, Part(BatchNorm), Part(Activated)))
    return Part(
        Chain,
        parts=(
            Part(Linear, width=hidden),
            Part(Levelwise, parts=(level,) * 3),
            Part(Activated),
            Part(Linear, width=dim),
        ),
    )


def _feed(hidden: int, dim: int, drop_path: float) -> Part:
    around = Part(Levelwise, parts=(Part(Depthwise),))
    map_ = Part(Chain, parts=(Part(Linear, width=hidden), around, Part(Activated), Part(Linear, width=dim)))
    return Part(Residual, branch=(Part(LayerNorm, eps=1e-6), map_), drop_path=drop_path)
