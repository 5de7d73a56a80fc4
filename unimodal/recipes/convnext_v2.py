"""ConvNeXt V2: ConvNeXt with a global response norm in its feed-forwards instead of the layer scale.

Source: Woo et al. 2023, arXiv:2301.00808, sec. 3; depths and widths: its code github.com/facebookresearch/ConvNeXt-V2,
models/convnextv2.py; of small: Wightman 2022, github.com/huggingface/pytorch-image-models, models/convnext.py.

Parameters with a classifier of 1000:

    atto  3,708,400    femto  5,233,240    pico   9,066,280    nano   15,623,800    tiny  28,635,496
    small 50,318,440    base 88,717,800    large 197,956,840    huge 660,289,640
"""

from types import MappingProxyType

from unimodal.ffns.hidden_norm import HiddenNorm
from unimodal.part import Part
from unimodal.recipes.convnext import convnext

__all__ = ["convnext_v2"]

# name: blocks of the four stages, width of the first one (it doubles)
_SIZES = MappingProxyType(
    {
        "atto": ((2, 2, 6, 2), 40),
        "femto": ((2, 2, 6, 2), 48),
        "pico": ((2, 2, 6, 2), 64),
        "nano": ((2, 2, 8, 2), 80),
        "tiny": ((3, 3, 9, 3), 96),
        "small": ((3, 3, 27, 3), 96),
        "base": ((3, 3, 27, 3), 128),
        "large": ((3, 3, 27, 3), 192),
        "huge": ((3, 3, 27, 3), 352),
    }
)


def convnext_v2(size: str = "tiny", *, image: int = 224, classes: int | None = None, drop_path: float = 0.0) -> Part:
    """A Model part for pictures; the arguments are those of :func:`~unimodal.recipes.convnext.convnext`.

    Args:
        size: atto, femto, pico, nano, tiny, small, base, large or huge.
        image: Side of the pictures in px, a multiple of 4; the network reads any.
        classes: Outputs of a classifier, or None for the vector in front of it.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.

    Raises:
        ValueError: an unknown size; an image that is no multiple of 4 px.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    depths, width = _SIZES[size]
    return convnext(
        image=image,
        classes=classes,
        drop_path=drop_path,
        layer_scale=None,
        ffn=Part(HiddenNorm),
        depths=depths,
        widths=tuple(width * 2**i for i in range(4)),
    )
