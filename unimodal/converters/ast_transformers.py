"""transformers' audio spectrogram transformer: the model, and the model with its classifier.

Source: Gong et al. 2021, arXiv:2104.01778; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/audio_spectrogram_transformer.
"""

from typing import Any

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_layers import core_of, vit_layers
from unimodal.positions.learned import Learned
from unimodal.readouts.head import Head
from unimodal.readouts.prefix_average import PrefixAverage
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import class_rows, lattice_rows
from unimodal.spectra.kaldi_fbank import KaldiFbank
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.tokenizers.audio import Audio

__all__ = ["ast_transformers"]


def ast_transformers(published: Published) -> Conversion:
    """One tower for sounds; its readout gives logits (with a classifier) or the mean of class and distillation token.

    As in the peer, a sound has ``max_length`` frames of 10 ms: shorter ones are filled up, and of longer ones the
    first are taken. The tokenizer's ``window_s`` reaches one frame further than they do, so that the end of the
    window cannot be heard in them.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("audio_spectrogram_transformer.")
    bias, positions = config["qkv_bias"], at + "embeddings.position_embeddings"
    table = {
        **affine("tokenizers.audio.stem.project", at + "embeddings.patch_embeddings.projection"),
        **lattice_rows(positions, 2, "audio"),
        **class_rows((at + "embeddings.cls_token", at + "embeddings.distillation_token"), positions, 2),
        **vit_layers(at, config["num_hidden_layers"], qkv_bias=bias),
        **affine("transformer.norm", at + "layernorm"),
    }
    readout = Part(PrefixAverage, count=2)
    if "classifier.dense.weight" in published.weights:
        norm, width = Part(LayerNorm, eps=config["layer_norm_eps"]), len(published.weights["classifier.dense.weight"])
        readout = Part(Head, pool=readout, norm=norm, width=width)
        table |= affine("readout.norm", "classifier.layernorm") | affine("readout.project", "classifier.dense")
    core = core_of(pre_norm, published, config, qkv_bias=bias)
    bands, frames, patch = config["num_mel_bins"], config["max_length"], config["patch_size"]
    stride = (config["frequency_stride"], config["time_stride"])
    stem = Part(OverlappingPatchStem, patch=patch, stride=stride, channels=1)
    part = Part(
        Model,
        dim=config["hidden_size"],
        tokenizers={"audio": Part(Audio, stem=stem, **_sounds(published, bands, frames))},
        positions={
            "audio": Part(Learned, grid=((bands - patch) // stride[0] + 1, (frames - patch) // stride[1] + 1)),
        },
        prefix=2,
        transformer=core,
        readout=readout,
    )
    return Conversion({"audio": Tower(part, table)})


def _sounds(published: Published, bands: int, frames: int) -> dict[str, Any]:
    """The tokenizer's settings, from the stored preprocessing or else the peer's defaults at the model's sizes."""
    import transformers

    sizes = {"num_mel_bins": bands, "max_length": frames}
    settings = transformers.ASTFeatureExtractor(**{**sizes, **published.preprocessor}).to_dict()
    for name, size in sizes.items():
        published.require(f"{name} of the preprocessing", settings[name], size)
    rate, normal = settings["sampling_rate"], settings["do_normalize"]
    scaling = {"mean": settings["mean"], "std": 2 * settings["std"]} if normal else {"mean": 0.0, "std": 1.0}
    spectrum = Part(KaldiFbank, rate_hz=rate, bands=bands, frames=frames, **scaling)
    return {"spectrum": spectrum, "window_s": frames / 100 + 0.025, "centred": False}
