"""T2T-ViT: a tokens-to-token stem in front of a deep and narrow vision transformer.

Source: Yuan et al. 2021, arXiv:2101.11986, table 1 and sec. 3.2; released: github.com/yitu-opensource/T2T-ViT.

Parameters at 224 px with a classifier of 1000 (published, in millions: 4.3, 5.9, 6.9, 21.5, 39.2, 64.1). The released
code counts 197 D more for its fixed waves, and in models with random features 4,096 for their fixed rows:

    7  4,255,694   10  5,834,702   12  6,887,374   14 21,465,806   19 39,085,070   24 64,000,974
    t-14 21,465,422   t-19 39,084,686   t-24 64,000,590   14-wide 25,000,910
"""

from types import MappingProxyType

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.attention.token_performer import TokenPerformerAttention
from unimodal.catalog import catalog
from unimodal.image_pyramid import COLOURS
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.numbered import Numbered
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.recipes.pre_norm import pre_norm
from unimodal.stems.tokens_to_token import TokensToTokenStem

__all__ = ["t2t_vit"]

# name: width, depth, heads, hidden width over width
_SIZES = MappingProxyType(
    {
        "7": (256, 7, 4, 2),
        "10": (256, 10, 4, 2),
        "12": (256, 12, 4, 2),
        "14": (384, 14, 6, 3),
        "19": (448, 19, 7, 3),
        "24": (512, 24, 8, 3),
        "14-resnext": (384, 14, 32, 3),
        "14-wide": (768, 4, 12, 3),
    }
)
_TOKEN_WIDTH, _FEATURES, _WINDOWS = 64, 32, (147, 576)


def t2t_vit(
    size: str = "14",
    *,
    image: int = 224,
    classes: int | None = None,
    scale: float | None = None,
    drop_path: float = 0.0,
    dropout: float = 0.1,
) -> Part:
    """A Model part for pictures.

    Args:
        size: 7, 10, 12, 14, 19 or 24, with ``t-`` before it for full attention in the stem (then D is 384 or more in
            the paper); 14-resnext and 14-wide are those of its ablation.
        image: Side of the pictures in px; others are served by resampling the waves.
        classes: Outputs of a classifier on the class token, or None.
        scale: Factor on q k^T in the blocks, None for 1 / sqrt(head width). The released weights have 1 / sqrt(D)
            (14-wide: 1 / sqrt(512)).
        drop_path: Stochastic depth of the last block.
        dropout: In the stem's steps with random features.

    Raises:
        ValueError: an unknown size, or an image that is no multiple of 16.
    """
    full = size.startswith("t-")
    if size.removeprefix("t-") not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, or t- and one of them, not {size!r}")
    if image % 16:
        raise ValueError(f"image must be a multiple of 16 px, not {image}")
    dim, depth, heads, ratio = _SIZES[size.removeprefix("t-")]
    if full:
        attention = tuple(Part(SoftmaxAttention, scale=window**-0.5) for window in _WINDOWS)
    else:
        attention = (Part(TokenPerformerAttention, features=_FEATURES, width=_TOKEN_WIDTH),) * 2
    stem = Part(
        TokensToTokenStem, attention=attention, width=_TOKEN_WIDTH, bias=not full, dropout=0.0 if full else dropout
    )
    core = pre_norm(depth=depth, heads=heads, hidden=ratio * dim, eps=1e-5, qkv_bias=False, drop_path=drop_path)
    if scale is not None:
        block = core.kwargs["blocks"]
        mixer = block.kwargs["mixer"].replace(attention=Part(SoftmaxAttention, scale=scale))
        core = core.replace(blocks=block.replace(mixer=mixer))
    return Part(
        Model,
        dim=dim,
        tokenizers={
            "image": Part(
                catalog("tokenizers")["image"],
                stem=stem,
                size=image,
                **COLOURS,
                crop_fraction=0.9,
            )
        },
        positions={"image": Part(Numbered, grid=(image // 16, image // 16), first=1)},
        prefix=1,
        transformer=core,
        readout=Part(ClassToken) if classes is None else Part(Head, width=classes),
    )
