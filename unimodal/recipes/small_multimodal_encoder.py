"""Small multimodal encoder: one core of four blocks and a tokenizer for each of thirteen modalities.

Source: Zhang et al. 2023, arXiv:2307.10802, sec. 3 (light tokenizers in front of one shared, frozen encoder).
"""

from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.coordinate_mlp import CoordinateMLP
from unimodal.positions.sincos import SinCos
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.spectra.kaldi_fbank import KaldiFbank
from unimodal.stems.convolution import ConvolutionStem
from unimodal.tokenizers.audio import Audio
from unimodal.tokenizers.ct import CT
from unimodal.tokenizers.graph import Graph
from unimodal.tokenizers.hyperspectral import Hyperspectral
from unimodal.tokenizers.imu import IMU
from unimodal.tokenizers.infrared import Infrared
from unimodal.tokenizers.point_cloud import PointCloud
from unimodal.tokenizers.table import Table
from unimodal.tokenizers.text import Text
from unimodal.tokenizers.time_series import TimeSeries
from unimodal.tokenizers.video import Video
from unimodal.tokenizers.xray import XRay

__all__ = ["small_multimodal_encoder"]


def small_multimodal_encoder() -> Part:
    """The Part of a :class:`~unimodal.model.Model`; call it without sizes.

    Core, image tokenizer and image positions are those of :func:`small_image_encoder`, so its weights fit and pictures
    give the same embedding. Positions of the others are waves over their lattice, or over the coordinates that the
    tokenizer states; points lie too near for waves and get a small network. A graph's and a table's tokens say
    themselves whose they are.
    """
    image = small_image_encoder()
    tokenizers = {
        **image.kwargs["tokenizers"],
        "infrared": Part(Infrared),
        "xray": Part(XRay),
        "video": Part(Video),
        "point_cloud": Part(PointCloud),
        "audio": Part(
            Audio, spectrum=Part(KaldiFbank, bands=40), stem=Part(ConvolutionStem, widths=(16, 32, 64), channels=1)
        ),
        "time_series": Part(TimeSeries),
        "imu": Part(IMU),
        "ct": Part(CT),
        "text": Part(Text, vocabulary=512, context=512, encoding="bytes", causal=False),
        "table": Part(Table),
        "graph": Part(Graph),
        "hyperspectral": Part(Hyperspectral),
    }
    waves = {name: Part(SinCos) for name in tokenizers if name not in ("image", "graph", "table", "point_cloud")}
    return Part(
        Model,
        dim=image.kwargs["dim"],
        tokenizers=tokenizers,
        positions={**image.kwargs["positions"], **waves, "point_cloud": Part(CoordinateMLP)},
        transformer=image.kwargs["transformer"],
        readout=image.kwargs["readout"],
        kinds=True,
    )
