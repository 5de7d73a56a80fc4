"""UniRepLKNet: a pyramid of large depth-wise kernels for everything that can be laid out as a map.

Source: Ding et al. 2024, arXiv:2311.15599; depths, widths and kernels: its code github.com/AILab-CVC/UniRepLKNet,
unireplknet.py.

Parameters with a classifier of 1000 on pictures, while training and deployed (the latter rounded in the code's README):

    a  4,649,060  4,437,300    f  6,489,328  6,235,216    p 11,080,520 10,741,704    n 18,818,880 18,318,560
    t 31,693,420 31,037,980    s 56,456,704 55,645,984
"""

from collections.abc import Callable
from types import MappingProxyType

from unimodal.catalog import catalog
from unimodal.downsampling import Downsampling
from unimodal.drop_path import ramp
from unimodal.ffns.hidden_norm import HiddenNorm
from unimodal.image_pyramid import COLOURS
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.dilated_reparam import DilatedReparam
from unimodal.mixers.squeeze_excitation import SqueezeExcitation
from unimodal.model import Model
from unimodal.norms.batch import BatchNorm
from unimodal.norms.global_response import GlobalResponseNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.coordinate_mlp import CoordinateMLP
from unimodal.projected_views import ProjectedViews
from unimodal.pyramid import Pyramid
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.stems.halving_convolution import HalvingConvolutionStem
from unimodal.stems.tiled_frames import TiledFramesStem
from unimodal.token_picture import TokenPicture
from unimodal.transformer import Transformer

__all__ = ["unireplknet"]

_STEADY, _HALF, _THIRD = (13,), (13, 3), (13, 3, 3)
# name: blocks of the four stages, width of the first one (it doubles), kernels of the third stage's blocks in turn
_SIZES = MappingProxyType(
    {
        "a": ((2, 2, 6, 2), 40, _STEADY),
        "f": ((2, 2, 6, 2), 48, _STEADY),
        "p": ((2, 2, 6, 2), 64, _STEADY),
        "n": ((2, 2, 8, 2), 80, _STEADY),
        "t": ((3, 3, 18, 3), 80, _HALF),
        "s": ((3, 3, 27, 3), 96, _THIRD),
        "b": ((3, 3, 27, 3), 128, _THIRD),
        "l": ((3, 3, 27, 3), 192, _THIRD),
        "xl": ((3, 3, 27, 3), 256, _THIRD),
    }
)


def unireplknet(
    size: str = "a",
    *,
    modality: str = "image",
    image: int = 224,
    classes: int | None = None,
    drop_path: float = 0.0,
    layer_scale: float | None = 1e-6,
    deployed: bool = False,
) -> Part:
    """A Model part; what the modalities differ in is how they are laid out as a map, and in nothing behind that.

    Pictures, and the log-mel bands of sounds as pictures of one channel, go through a stem of two strided convolutions.
    Clips are pictures of their 16 frames. Each channel of a series becomes 64 tokens of width 64, and these a picture
    of one channel. Clouds are three views of their groups of points.

    Args:
        size: a, f, p, n, t, s, b, l or xl.
        modality: image, audio, video, time_series or point_cloud.
        image: Side of pictures and of the frames of clips in px, a multiple of 4; the network reads any.
        classes: Outputs of a classifier on the mean of the last stage's tokens, or None for that mean, normed.
        drop_path: Stochastic depth of the last block; it grows linearly from 0 at the first.
        layer_scale: Initial factor on each block's branch, or None for none.
        deployed: Whether it has the form that :func:`unimodal.reparameterize.reparameterize` gives it, whose weights
            it then takes.

    Raises:
        ValueError: an unknown size or modality; an image that is no multiple of 4 px.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if modality not in _LAYOUTS:
        raise ValueError(f"modality must be one of {', '.join(_LAYOUTS)}, not {modality!r}")
    if image < 4 or image % 4:
        raise ValueError(f"image must be a multiple of 4 px, not {image}")
    depths, width, kernels = _SIZES[size]
    stages = []
    for pattern, rates in zip(((3,), _STEADY, kernels, _STEADY), ramp(depths, drop_path), strict=True):
        rates = rates if drop_path else (0.0,) * len(pattern)
        blocks = [
            _block(pattern[i % len(pattern)], rate, layer_scale, deployed=deployed) for i, rate in enumerate(rates)
        ]
        stages.append(Part(Transformer, depth=depths[len(stages)], blocks=tuple(blocks)))
    between = tuple(Part(Downsampling, width=width * 2**i) for i in (1, 2, 3))
    core = Part(Pyramid, stages=tuple(stages), between=between)
    readout = Part(Head, pool=Part(Mean), norm=Part(LayerNorm), width=classes)
    return Part(Model, **_LAYOUTS[modality](width, core, image), readout=readout)


def _block(kernel: int, rate: float, layer_scale: float | None, *, deployed: bool) -> Part:
    if deployed:
        ffn = Part(HiddenNorm, norm=Part(GlobalResponseNorm, bias=False))
        branch = (Part(Depthwise, kernel=kernel), Part(SqueezeExcitation), ffn)
        return Part(Residual, branch=branch, drop_path=rate)
    mixer = Part(Depthwise, kernel=kernel, bias=False) if kernel < 7 else Part(DilatedReparam, kernel=kernel)
    branch = (mixer, Part(BatchNorm), Part(SqueezeExcitation), Part(HiddenNorm, bias=False), Part(BatchNorm))
    return Part(Residual, branch=branch, layer_scale=layer_scale, drop_path=rate)


def _image(width: int, core: Part, image: int) -> dict:
    tokenizer = Part(
        catalog("tokenizers")["image"], stem=Part(HalvingConvolutionStem), size=image, crop_fraction=0.875, **COLOURS
    )
    return {"dim": width, "tokenizers": {"image": tokenizer}, "transformer": core}


def _audio(width: int, core: Part, image: int) -> dict:
    tokenizer = Part(catalog("tokenizers")["audio"], stem=Part(HalvingConvolutionStem, channels=1))
    return {"dim": width, "tokenizers": {"audio": tokenizer}, "transformer": core}


def _video(width: int, core: Part, image: int) -> dict:
    tokenizer = Part(catalog("tokenizers")["video"], stem=Part(TiledFramesStem), frames=16, size=image, **COLOURS)
    return {"dim": width, "tokenizers": {"video": tokenizer}, "transformer": core}


def _time_series(width: int, core: Part, image: int) -> dict:
    tokenizer = Part(catalog("tokenizers")["time_series"], patch=8, stride=8, limit=64, channel_independent=True)
    return {
        "dim": 64,
        "tokenizers": {"time_series": tokenizer},
        "transformer": Part(TokenPicture, width=width, core=core),
    }


def _point_cloud(width: int, core: Part, image: int) -> dict:
    return {
        "dim": width,
        "tokenizers": {"point_cloud": Part(catalog("tokenizers")["point_cloud"], groups=512, neighbours=16)},
        "positions": {"point_cloud": Part(CoordinateMLP)},
        "transformer": Part(ProjectedViews, core=core),
    }


_LAYOUTS: MappingProxyType[str, Callable[[int, Part, int], dict]] = MappingProxyType(
    {"image": _image, "audio": _audio, "video": _video, "time_series": _time_series, "point_cloud": _point_cloud}
)
