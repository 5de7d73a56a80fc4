"""transformers' Whisper: the encoder, out of the whole model or out of the one that writes text.

Source: Radford et al. 2022, arXiv:2212.04356, sec. 2.2; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/whisper.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.model import Model
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.positions.learned import Learned
from unimodal.readouts.mean import Mean
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks, lattice_rows
from unimodal.spectra.log_mel import LogMel
from unimodal.stems.time_convolution import TimeConvolutionStem
from unimodal.tokenizers.audio import Audio

__all__ = ["whisper_transformers"]


def whisper_transformers(published: Published) -> Conversion:
    """One tower for sounds, whose tokens are the encoder's; its readout is their mean. The decoder is set aside.

    As in the peer, a sound is filled with silence to 30 s, and of longer ones the first 30 s are taken. The peer's keys
    have no bias; ours get one of zeros.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config = published.config
    at = published.under("model.") + "encoder."
    layer, depth = at + "layers.{}.", config["encoder_layers"]
    attention = layer + "self_attn."
    table = {
        **_convolution("tokenizers.audio.stem.spread", at + "conv1", lambda w_DMK: w_DMK[:, None].contiguous()),
        **_convolution("tokenizers.audio.stem.halve", at + "conv2", lambda w_DDK: w_DDK[:, :, None].contiguous()),
        **lattice_rows(at + "embed_positions.weight", 0, "audio"),
        **blocks(
            depth,
            {
                "norm_mixer": layer + "self_attn_layer_norm",
                "mixer.to_qkv": (attention + "q_proj", attention + "k_proj", attention + "v_proj"),
                "mixer.to_out": attention + "out_proj",
                "norm_ffn": layer + "final_layer_norm",
                "ffn.to_hidden": layer + "fc1",
                "ffn.to_out": layer + "fc2",
            },
        ),
        **affine("transformer.norm", at + "layer_norm"),
    }
    for i in range(depth):
        of_q_and_v = tuple(f"{attention.format(i)}{name}_proj.bias" for name in "qv")
        table[f"transformer.blocks.{i}.mixer.to_qkv.bias"] = From(of_q_and_v, _between_zeros)
    dim, frames = config["d_model"], 2 * config["max_source_positions"]
    core = pre_norm(
        depth=depth,
        heads=config["encoder_attention_heads"],
        hidden=config["encoder_ffn_dim"],
        activation=activation(published, config["activation_function"]),
        eps=1e-5,
    )
    stem = Part(TimeConvolutionStem, bands=config["num_mel_bins"], channels=1)
    part = Part(
        Model,
        dim=dim,
        tokenizers={"audio": Part(Audio, stem=stem, **_sounds(published, config["num_mel_bins"], frames))},
        positions={"audio": Part(Learned, grid=(1, config["max_source_positions"]))},
        transformer=core,
        readout=Part(Mean),
    )
    aside = [name for name in published.weights if name.startswith((at.replace("encoder.", "decoder."), "proj_out."))]
    return Conversion({"audio": Tower(part, table)}, dict.fromkeys(aside, "writes text from what the encoder heard"))


def _convolution(ours: str, theirs: str, weight: Callable[[Tensor], Tensor]) -> dict[str, From]:
    return {f"{ours}.weight": From((theirs + ".weight",), weight), f"{ours}.bias": From((theirs + ".bias",))}


def _between_zeros(q_D: Tensor, v_D: Tensor) -> Tensor:
    return torch.cat([q_D, torch.zeros_like(q_D), v_D])


def _sounds(published: Published, bands: int, frames: int) -> dict[str, Any]:
    """The tokenizer's settings, from the stored preprocessing or else the peer's defaults at the model's sizes."""
    import transformers

    given = {"feature_size": bands, "chunk_length": frames // 100, **published.preprocessor}
    settings = transformers.WhisperFeatureExtractor(**given).to_dict()
    rate = settings["sampling_rate"]
    published.require("the rate of the preprocessing", rate, 16_000)
    for name, needed in (("feature_size", bands), ("n_fft", 400), ("hop_length", 160), ("nb_max_frames", frames)):
        published.require(f"{name} of the preprocessing", settings[name], needed)
    published.require("dither of the preprocessing", settings["dither"], 0.0)
    window_s = frames * settings["hop_length"] / rate
    return {"spectrum": Part(LogMel, rate_hz=rate, bands=bands), "window_s": window_s, "filled": True, "centred": False}
