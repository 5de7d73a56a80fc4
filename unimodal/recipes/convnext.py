"""ConvNeXt: a pyramid of large depth-wise kernels and feed-forwards in one branch.

Source: Liu et al. 2022, arXiv:2201.03545, fig. 4 and table 9; depths and widths of tiny to xlarge: sec. 3 and its code
github.com/facebookresearch/ConvNeXt, models/convnext.py; of atto to nano: Wightman 2022, github.com/huggingface/
pytorch-image-models, models/convnext.py.

Parameters with a classifier of 1000, and 1e9 multiply-adds of a picture of 224 px:

    atto    3,695,520   0.55    femto    5,217,784   0.78    pico     9,045,672   1.37
    nano   15,593,560   2.45    tiny    28,589,128   4.46    small   50,223,688   8.68
    base   88,591,464  15.35    large  197,767,336  34.36    xlarge 350,196,968  60.92
"""

from types import MappingProxyType

from unimodal.downsampling import Downsampling
from unimodal.drop_path import ramp
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

__all__ = ["convnext"]

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
        "xlarge": ((3, 3, 27, 3), 256),
    }
)


def convnext(
    size: str = "tiny",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    layer_scale: float | None = 1e-6,
    ffn: Part = Part(Plain),
    norm: Part = Part(LayerNorm),
    depths: tuple[int, ...] | None = None,
    widths: tuple[int, ...] | None = None,
    kernels: tuple[int, ...] = (7, 7, 7, 7),
    patch: int = 4,
    readout: Part | None = None,
) -> Part:
    """A Model part for pictures of any size from ``patch`` times 8 px on.

    Stem, feed-forwards and classifier start as torch's maps do; the released code draws them, as the convolutions here,
    from a truncated normal of standard deviation 0.02.

    Args:
        size: atto, femto, pico, nano, tiny, small, base, large or xlarge.
        image: Side of the pictures in px; the network reads any.
        classes: Outputs of a classifier on the mean of the last stage's tokens, normed; or None for that vector.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        layer_scale: Initial factor on each block's branch, or None for none.
        ffn: Of every block; :class:`~unimodal.ffns.hidden_norm.HiddenNorm` makes it the second version.
        norm: Behind the stem, in every block and in front of every strided convolution.
        depths: Blocks of each stage, instead of the size's.
        widths: Of each stage, instead of the size's.
        kernels: Side of each stage's depth-wise kernels in cells.
        patch: Side of the stem's patches in px.
        readout: Instead of the mean, the norm and the classifier.

    Raises:
        ValueError: an unknown size; an image that is no multiple of the patch; depths, widths and kernels of other
            than as many stages; classes beside a readout.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image < patch or image % patch:
        raise ValueError(f"image must be a multiple of patch {patch} px, not {image}")
    if classes is not None and readout is not None:
        raise ValueError(f"classes={classes} belong to the classifier that readout={readout} stands for")
    depths = _SIZES[size][0] if depths is None else depths
    widths = tuple(_SIZES[size][1] * 2**i for i in range(len(depths))) if widths is None else widths
    if not len(depths) == len(widths) == len(kernels):
        raise ValueError(f"depths, widths and kernels must be of as many stages, not {depths}, {widths}, {kernels}")
    stages = []
    for kernel, rates in zip(kernels, ramp(depths, drop_path), strict=True):
        branch = (Part(Depthwise, kernel=kernel), norm, ffn)
        block = Part(Residual, branch=branch, layer_scale=layer_scale)
        blocks = tuple(block.replace(drop_path=rate) for rate in rates) if drop_path else block
        stages.append(Part(Transformer, depth=len(rates), blocks=blocks))
    between = tuple(Part(Downsampling, width=width, kernel=2, before=norm, behind=None) for width in widths[1:])
    return image_pyramid(
        widths[0],
        stem=Part(PatchStem, patch=patch),
        norm=norm,
        stages=tuple(stages),
        between=between,
        image=image,
        readout=Part(Head, pool=Part(Mean), norm=norm, width=classes) if readout is None else readout,
    )
