"""FMViT: convolutions, and attention to averages beside convolutions of several reaches, all trained as sums of maps.

Source: Tan et al. 2023, arXiv:2311.05707. Its code was never released. From the paper: four stages of strides 4 to 32,
convolutional fusion blocks, a block that mixes low and high frequencies, multi-group reparameterised maps, lightweight
attention, batch norms everywhere that fold. Ours, because we could not check the paper's: the sizes and their names,
depths, widths, sets of branches, the shares of channels, the kernels of the bands, the shrink of heads, the pattern of
blocks (that of Next-ViT, Li et al. 2022, arXiv:2207.05501), stem and readout. So these are no published counts;
parameters with a classifier of 1000 while training and in use, and 1e9 multiply-adds in use at 224 px:

    tiny  14,898,888  9,290,984 1.6    small 23,401,288 14,327,592 2.6    base 50,967,544 30,830,536 5.6
"""

from types import MappingProxyType

from unimodal.average_pooling import AveragePooling
from unimodal.chain import Chain
from unimodal.channel_split import ChannelSplit
from unimodal.drop_path import ramp
from unimodal.ffns.activated import Activated
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.mapped import Mapped
from unimodal.mixers.multi_group import MultiGroup
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.multi_group_downsampling import MultiGroupDownsampling
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.readouts.behind import Behind
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.stems.convolution_stack import ConvolutionStackStem
from unimodal.transformer import Transformer

__all__ = ["fmvit"]

# blocks and widths of the four stages
_SIZES = MappingProxyType(
    {
        "tiny": ((2, 2, 5, 2), (64, 128, 256, 512)),
        "small": ((3, 4, 10, 3), (64, 128, 256, 512)),
        "base": ((3, 4, 10, 3), (96, 192, 384, 768)),
    }
)


def fmvit(
    size: str = "small",
    *,
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    depths: tuple[int, ...] | None = None,
    widths: tuple[int, ...] | None = None,
    groups: tuple[int, ...] = (1, 2, 4),
    identity: bool = True,
    kernels: tuple[int, ...] = (3, 5),
    reductions: tuple[int, ...] = (4, 2, 1),
    shrink: float = 0.5,
    head: int = 32,
) -> Part:
    """A Model part for pictures of any size.

    Args:
        size: tiny, small or base; ours, not the paper's.
        image: Side of the pictures in px, a multiple of 4; the network reads any.
        classes: Outputs of a classifier on the mean of the last stage's tokens, normed; or None for that vector.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        depths: Blocks of each stage, instead of the size's; those of the third in fives.
        widths: Of each stage, instead of the size's.
        groups: Of the branches of a map of one cell.
        identity: Whether convolutions have the tokens themselves as a branch.
        kernels: Of the bands of high frequencies, a band each; they share half of the channels.
        reductions: S of each stage from the second on: a key of the low frequencies is the mean of S x S cells.
        shrink: Width of a head over its share of the channels.
        head: Channels of a head, and of a group of the convolutions.

    Raises:
        ValueError: an unknown size; an image that is no multiple of 4 px; a third stage that is not of fives.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image < 4 or image % 4:
        raise ValueError(f"image must be a multiple of 4 px, not {image}")
    depths, widths = _SIZES[size][0] if depths is None else depths, _SIZES[size][1] if widths is None else widths
    if depths[2] % 5:
        raise ValueError(f"the third stage has blocks in fives, not {depths[2]}")
    pointwise = tuple((1, g) for g in groups)
    patterns = (
        (False,),
        (False,) * (depths[1] - 1) + (True,),
        (False,) * 4 + (True,),
        (False,) * (depths[3] - 1) + (True,),
    )
    stages = []
    for width, pattern, rates, reduction in zip(
        widths, patterns, ramp(depths, drop_path), (1, *reductions), strict=True
    ):
        low, high = width // 2, width // 2 // len(kernels)
        bands = tuple(_convolved(kernel, max(high // head, 1), pointwise, identity=identity) for kernel in kernels)
        heads = max(low // head, 1)
        mixer = Part(Mapped, heads=heads, head_width=int(head * shrink), project=Part(MultiGroup, branches=pointwise))
        split = Part(ChannelSplit, parts=(_averaged(mixer, reduction), *bands), widths=(low, *(high,) * len(kernels)))
        fusing = _convolved(3, max(width // head, 1), pointwise, identity=identity)
        blocks = []
        for i, rate in enumerate(rates):
            mixing = split if pattern[i % len(pattern)] else fusing
            fuse = Part(MultiGroup, branches=pointwise)
            mixed = Part(Residual, branch=(mixing, fuse), drop_path=rate)
            fed = Part(Residual, branch=(Part(BatchNorm), _fed(width, pointwise)), drop_path=rate)
            blocks.append(Part(Chain, parts=(mixed, fed)))
        stages.append(Part(Transformer, depth=len(blocks), blocks=tuple(blocks)))
    return image_pyramid(
        widths[0],
        stem=Part(ConvolutionStackStem, widths=(widths[0] // 2, widths[0] // 2), strides=(2, 1, 2)),
        stages=tuple(stages),
        between=tuple(Part(MultiGroupDownsampling, width=width) for width in widths[1:]),
        image=image,
        readout=Part(Behind, parts=(Part(BatchNorm),), readout=Part(Head, pool=Part(Mean), width=classes)),
    )


def _convolved(kernel: int, groups: int, pointwise: tuple[tuple[int, int], ...], *, identity: bool) -> Part:
    """A convolution in groups, trained with smaller kernels beside it where there are further branches at all."""
    smaller = tuple((k, groups) for k in range(1, kernel, 2)) if len(pointwise) > 1 else ()
    gather = Part(MultiGroup, branches=((kernel, groups), *smaller), identity=identity)
    return Part(Chain, parts=(gather, Part(Activated, activation="relu")))


def _averaged(mixer: Part, reduction: int) -> Part:
    """The band of low frequencies: every token attends to averages of boxes."""
    if reduction > 1:
        mixer = Part(ReducedKeys, mixer=mixer, reduce=Part(AveragePooling, stride=reduction, behind=Part(BatchNorm)))
    return Part(Chain, parts=(Part(BatchNorm), mixer))


def _fed(width: int, pointwise: tuple[tuple[int, int], ...]) -> Part:
    """The paper's gMLP, a feed-forward of multi-group maps; it gates nothing."""
    widen = Part(MultiGroup, branches=pointwise, width=3 * width)
    narrow = Part(MultiGroup, branches=pointwise, width=width)
    return Part(Chain, parts=(widen, Part(Activated, activation="relu"), narrow))
