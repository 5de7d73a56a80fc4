"""UniFormer: local relations by convolutions in early stages, global ones by attention in late stages, in 2-D and 3-D.

Source: Li et al. 2022, arXiv:2201.09450 (pictures), sec. 3 and table 1; arXiv:2201.04676 (clips); their code
github.com/Sense-X/UniFormer, image_classification/models/uniformer.py and uniformer_light.py (xxs, xs),
image_classification/token_labeling/tlt/models/uniformer.py (large) and
video_classification/slowfast/models/uniformer.py. Stochastic depth there: xxs none, xs and small 0.1, base
0.3, large 0.4.

Parameters, with a classifier of 1000 on pictures and of 400 on clips, and 1e9 multiply-adds at 224 px:

    image  small 21,545,256  3.6    small_plus 24,032,552  4.2    base 49,776,552  8.2    base_ls 49,796,520
           large_ls 99,457,768    xxs 10,215,280  1.3    xs 16,509,264  1.9 (2.0 in its README)
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
from unimodal.hourglass import Hourglass
from unimodal.image_pyramid import image_pyramid
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.divided_space_time import DividedSpaceTime
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.prefixed_shrinking import PrefixedShrinking
from unimodal.prepared import Prepared
from unimodal.pyramid import Pyramid
from unimodal.readouts.behind import Behind
from unimodal.readouts.class_beside import ClassBeside
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
# blocks and widths of the four stages, width of a head, at how many of them patches overlap, layer scale of the global
# blocks, hidden width of the feed-forwards over the width, relations
_SIZES = MappingProxyType(
    {
        "xxs": ((2, 5, 8, 2), (56, 112, 224, 448), 28, 1, None, 3.0, "LLHH"),
        "xs": ((3, 5, 9, 3), (64, 128, 256, 512), 32, 1, None, 3.0, "LLHH"),
        "small": ((3, 4, 8, 3), _USUAL, 64, 0, None, 4.0, "LLGG"),
        "small_plus": ((3, 5, 9, 3), _USUAL, 32, 4, None, 4.0, "LLGG"),
        "base": ((5, 8, 20, 7), _USUAL, 64, 0, None, 4.0, "LLGG"),
        "base_ls": ((5, 8, 20, 7), _USUAL, 64, 0, 1e-6, 4.0, "LLGG"),
        "large_ls": ((5, 10, 24, 7), (128, 192, 448, 640), 64, 0, 1e-6, 4.0, "LLGG"),
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
    relations: str | None = None,
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

    Through a global block of the light sizes (:class:`~unimodal.hourglass.Hourglass`) goes the half of the tokens that
    a class token has looked at most so far. It enters in front of their third stage and has a readout of its own, which
    is trained beside the other and not used (:class:`~unimodal.readouts.class_beside.ClassBeside`).

    Args:
        size: xxs, xs, small, small_plus, base, base_ls or large_ls; of clips small or base.
        modality: image or video.
        image: Side of pictures and frames in px, a multiple of 4; the network reads any from 32 px on.
        frames: Of a clip, an even number; the network reads any.
        classes: Outputs of a classifier on the mean of the normed tokens, or None for that mean.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        split: Whether global blocks of clips look along time first and then over space, instead of at all at once.
            Space looks at what time gave; what is added to x is what space gave, as in the released code. Attention
            over time gives nothing before training.
        relations: A letter a stage instead of the size's, L local, G global or, in the last stages of networks of
            pictures, H global for the half of the tokens.
        depths: Blocks of each stage instead of the size's.
        widths: Width of each stage instead of the size's.
        head_width: Of the attention heads instead of the size's; it divides the widths of global stages.

    Raises:
        ValueError: an unknown size or modality, or a size that clips do not have; an image that is no multiple of 4
            px; relations other than L, G and H, H in front of others or of clips, or not one for each of the depths and
            widths; a head width that divides not; split pictures.
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
    own_depths, own_widths, own_head, overlaps, layer_scale, ratio, own_relations = _SIZES[size]
    depths, widths, head = depths or own_depths, widths or own_widths, head_width or own_head
    relations = relations or own_relations
    if set(relations) - set("LGH") or not len(relations) == len(depths) == len(widths):
        raise ValueError(f"a letter L, G or H, a depth and a width a stage, not {relations!r}, {depths} and {widths}")
    light = relations.count("H")
    if light and (modality == "video" or relations.rstrip("H").count("H")):
        raise ValueError(f"relations H are those of the last stages, on pictures, not {relations!r} on {modality}s")
    if any(width % head for width, kind in zip(widths, relations, strict=True) if kind != "L"):
        raise ValueError(f"head_width {head} does not divide the widths {widths} of global stages")
    axes, stages = (2 if modality == "image" else 3), []
    for kind, depth, width, rates in zip(relations, depths, widths, ramp(depths, drop_path), strict=True):
        relate = [_among_all(width // head, rate, layer_scale, ratio) for rate in rates]
        if kind == "H":
            core = Part(Hourglass, blocks=tuple(relate), position=_position(axes))
            first = len(stages) == len(relations) - light
            stages.append(Part(Prepared, core=core, prefix=1) if first else core)
            continue
        if kind == "L":
            blocks = [_local(axes, rate, ratio) for rate in rates]
        elif split:
            blocks = [_divided(axes, width // head, rate) for rate in rates]
        else:
            blocks = [Part(Chain, parts=(_position(axes), block)) for block in relate]
        stages.append(Part(Transformer, depth=depth, blocks=tuple(blocks)))
    readout = Part(Behind, parts=(Part(BatchNorm),), readout=Part(Head, pool=Part(Mean), width=classes))
    between = [_halving(axes, width, i < overlaps) for i, width in enumerate(widths[1:], 1)]
    if light:
        beside = Part(Head, norm=Part(LayerNorm, eps=1e-5), width=classes)
        readout = Part(ClassBeside, readout=readout, beside=beside)
        inner = len(relations) - light  # where tokens already have a class token in front
        between[inner:] = [Part(PrefixedShrinking, shrink=shrink) for shrink in between[inner:]]
    if modality == "image":
        stem = _overlapping(widths[0]) if overlaps else Part(PatchStem, patch=4)
        return image_pyramid(
            widths[0],
            stem=stem,
            norm=None if overlaps else _PATCHED,
            stages=tuple(stages),
            between=tuple(between),
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
        transformer=Part(Pyramid, stages=tuple(stages), between=tuple(between)),
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


def _local(axes: int, rate: float, ratio: float) -> Part:
    relate = (Part(BatchNorm), Part(Linear), Part(Depthwise, kernel=(5,) * axes), Part(Linear))
    branches = (relate, (Part(BatchNorm), Part(Plain, ratio=ratio)))
    rows = tuple(Part(Residual, branch=branch, drop_path=rate) for branch in branches)
    return Part(fan_in_start, part=Part(Chain, parts=(_position(axes), *rows)))


def _among_all(heads: int, rate: float, layer_scale: float | None, ratio: float) -> Part:
    ffn = Part(Plain, ratio=ratio)
    return Part(Block, mixer=Part(Full, heads=heads), ffn=ffn, layer_scale=layer_scale, drop_path=rate)


def _divided(axes: int, heads: int, rate: float) -> Part:
    over_time = Part(Residual, branch=(Part(LayerNorm), Part(silent_time, heads=heads)), drop_path=rate)
    over_space = Part(DividedSpaceTime, heads=heads, over="space")
    branches = ((over_time, Part(LayerNorm), over_space), (Part(LayerNorm), Part(Plain)))
    rows = tuple(Part(Residual, branch=branch, drop_path=rate) for branch in branches)
    return Part(Chain, parts=(_position(axes), *rows))
