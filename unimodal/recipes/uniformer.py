"""UniFormer: local relations by convolutions in early stages, global ones by attention in late stages, in 2-D and 3-D.

Source: Li et al. 2022, arXiv:2201.09450 (pictures), sec. 3 and table 1; arXiv:2201.04676 (clips); their code
github.com/Sense-X/UniFormer, image_classification/models/uniformer.py,
image_classification/token_labeling/tlt/models/uniformer.py (large) and
video_classification/slowfast/models/uniformer.py. Stochastic depth there: small 0.1, base 0.3, large 0.4.

Parameters, with a classifier of 1000 on pictures and of 400 on clips, and 1e9 multiply-adds at 224 px:

    image  small 21,545,256  3.6    small_plus 24,032,552  4.2    base 49,776,552  8.2    base_ls 49,796,520
           large_ls 99,457,768
    video  small 21,400,400 17.6 (8 frames), 41.7 (16 frames)     base 49,813,200 96.6 (16 frames)
           small, split 27,847,504
"""

from types import MappingProxyType

from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.chain import Chain
from unimodal.downsampling import Downsampling
from unimodal.drop_path import ramp
from unimodal.fan_in_start import fan_in_start
from unimodal.ffns.linear import Linear
from unimodal.ffns.plain import Plain
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.divided_space_time import DividedSpaceTime
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.pyramid import Pyramid
from unimodal.readouts.behind import Behind
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.silent_time import silent_time
from unimodal.stems.convolution_stack import ConvolutionStackStem
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

__all__ = ["uniformer"]

_USUAL = (64, 128, 320, 512)
# blocks and widths of the four stages, width of a head, whether patches overlap, layer scale of the global blocks
_SIZES = MappingProxyType(
    {
        "small": ((3, 4, 8, 3), _USUAL, 64, False, None),
        "small_plus": ((3, 5, 9, 3), _USUAL, 32, True, None),
        "base": ((5, 8, 20, 7), _USUAL, 64, False, None),
        "base_ls": ((5, 8, 20, 7), _USUAL, 64, False, 1e-6),
        "large_ls": ((5, 10, 24, 7), (128, 192, 448, 640), 64, False, 1e-6),
    }
)
_PATCHED = Part(LayerNorm, eps=1e-5)


def uniformer(
    size: str = "small",
    *,
    modality: str = "image",
    image: int = 224,
    frames: int = 16,
    classes: int | None = None,
    drop_path: float = 0.0,
    split: bool = False,
    relations: str = "LLGG",
    depths: tuple[int, ...] | None = None,
    widths: tuple[int, ...] | None = None,
    head_width: int | None = None,
) -> Part:
    """A Model part. Pictures and clips have the same blocks, with kernels of two axes or three.

    Every block begins with a dynamic position, x + depth-wise convolution of 3 x 3 (x 3), whose zeros around the
    lattice tell a token where it is. A local block goes on with a depth-wise convolution of 5 x 5 (x 5) between two
    linear maps, a global one with attention among all tokens, in clips those of all frames; both with a feed-forward.
    Batch norms stand in local blocks and layer norms in global ones. Only the stem shrinks time, by 2. Convolutions
    begin as torch has them (:func:`~unimodal.fan_in_start.fan_in_start`), as in the released code.

    Args:
        size: small, small_plus, base, base_ls or large_ls; of clips small or base.
        modality: image or video.
        image: Side of pictures and frames in px, a multiple of 4; the network reads any from 32 px on.
        frames: Of a clip, an even number; the network reads any.
        classes: Outputs of a classifier on the mean of the normed tokens, or None for that mean.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        split: Whether global blocks of clips look along time first and then over space, instead of at all at once.
            Space looks at what time gave; what is added to x is what space gave, as in the released code. Attention
            over time gives nothing before training.
        relations: A letter a stage, L local or G global.
        depths: Blocks of each stage instead of the size's.
        widths: Width of each stage instead of the size's.
        head_width: Of the attention heads instead of the size's; it divides the widths of global stages.

    Raises:
        ValueError: an unknown size or modality, or a size that clips do not have; an image that is no multiple of 4
            px; relations other than L and G, or not one for each of the depths and widths; a head width that divides
            not; split pictures.
    """
    known = tuple(_SIZES) if modality == "image" else ("small", "base")
    if modality not in ("image", "video"):
        raise ValueError(f"modality must be image or video, not {modality!r}")
    if size not in known:
        raise ValueError(f"size must be one of {', '.join(known)}, not {size!r}")
    if image < 4 or image % 4:
        raise ValueError(f"image must be a multiple of 4 px, not {image}")
    if split and modality == "image":
        raise ValueError("split=True divides space and time, and pictures have no time: it needs modality='video'")
    own_depths, own_widths, own_head, overlapping, layer_scale = _SIZES[size]
    depths, widths, head = depths or own_depths, widths or own_widths, head_width or own_head
    if set(relations) - {"L", "G"} or not len(relations) == len(depths) == len(widths):
        raise ValueError(f"a letter L or G, a depth and a width a stage, not {relations!r}, {depths} and {widths}")
    if any(width % head for width, kind in zip(widths, relations, strict=True) if kind == "G"):
        raise ValueError(f"head_width {head} does not divide the widths {widths} of global stages")
    axes, stages = (2 if modality == "image" else 3), []
    for kind, depth, width, rates in zip(relations, depths, widths, ramp(depths, drop_path), strict=True):
        if kind == "L":
            blocks = [_local(axes, rate) for rate in rates]
        elif split:
            blocks = [_divided(axes, width // head, rate) for rate in rates]
        else:
            blocks = [_joint(axes, width // head, rate, layer_scale) for rate in rates]
        stages.append(Part(Transformer, depth=depth, blocks=tuple(blocks)))
    readout = Part(Behind, parts=(Part(BatchNorm),), readout=Part(Head, pool=Part(Mean), width=classes))
    between = tuple(_halving(axes, width, overlapping) for width in widths[1:])
    if modality == "image":
        stem = _overlapping(widths[0]) if overlapping else Part(PatchStem, patch=4)
        return image_pyramid(
            widths[0],
            stem=stem,
            norm=None if overlapping else _PATCHED,
            stages=tuple(stages),
            between=between,
            image=image,
            readout=readout,
        )
    stem = Part(OverlappingPatchStem, patch=(3, 4, 4), stride=(2, 4, 4), padding=(1, 0, 0))
    colours = {"mean": (0.45,) * 3, "std": (0.225,) * 3}
    return Part(
        Model,
        dim=widths[0],
        tokenizers={"video": Part(catalog("tokenizers")["video"], stem=stem, frames=frames, size=image, **colours)},
        norm=_PATCHED,
        transformer=Part(Pyramid, stages=tuple(stages), between=between),
        readout=readout,
    )


def _overlapping(width: int) -> Part:
    settings = {"widths": (width // 2,), "strides": (2, 2), "activation": "gelu", "activated": False, "bias": True}
    return Part(fan_in_start, part=Part(ConvolutionStackStem, **settings))


def _halving(axes: int, width: int, overlapping: bool) -> Part:
    """Between two stages: of time nothing is lost there."""
    patch = 2 if axes == 2 else (1, 2, 2)
    shrink = Part(Downsampling, width=width, kernel=patch, stride=patch, padding=0, behind=_PATCHED)
    shrink = Part(Downsampling, width=width, behind=Part(BatchNorm)) if overlapping else shrink
    return Part(fan_in_start, part=shrink)


def _position(axes: int) -> Part:
    return Part(Residual, branch=(Part(fan_in_start, part=Part(Depthwise, kernel=(3,) * axes)),))


def _local(axes: int, rate: float) -> Part:
    relate = (Part(BatchNorm), Part(Linear), Part(Depthwise, kernel=(5,) * axes), Part(Linear))
    branches = (relate, (Part(BatchNorm), Part(Plain)))
    rows = tuple(Part(Residual, branch=branch, drop_path=rate) for branch in branches)
    return Part(fan_in_start, part=Part(Chain, parts=(_position(axes), *rows)))


def _joint(axes: int, heads: int, rate: float, layer_scale: float | None) -> Part:
    mixer = Part(Full, heads=heads)
    block = Part(Block, mixer=mixer, ffn=Part(Plain), layer_scale=layer_scale, drop_path=rate)
    return Part(Chain, parts=(_position(axes), block))


def _divided(axes: int, heads: int, rate: float) -> Part:
    over_time = Part(Residual, branch=(Part(LayerNorm), Part(silent_time, heads=heads)), drop_path=rate)
    over_space = Part(DividedSpaceTime, heads=heads, over="space")
    branches = ((over_time, Part(LayerNorm), over_space), (Part(LayerNorm), Part(Plain)))
    rows = tuple(Part(Residual, branch=branch, drop_path=rate) for branch in branches)
    return Part(Chain, parts=(_position(axes), *rows))
