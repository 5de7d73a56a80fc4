"""transformers' wav2vec 2.0: the encoder, out of the model for pre-training, for letters, or by itself.

Source: Baevski et al. 2020, arXiv:2006.11477; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/wav2vec2.
"""

from typing import Any

import torch
from torch import Tensor

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.positions.convolutional import Convolutional
from unimodal.readouts.mean import Mean
from unimodal.recipes.post_norm import post_norm
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks
from unimodal.stems.wave_convolution import WaveConvolutionStem
from unimodal.tokenizers.waveform import Waveform

__all__ = ["wav2vec2_transformers"]

_ASIDE = {
    "quantizer.": "makes the targets of pre-training",
    "project_q.": "makes the targets of pre-training",
    "project_hid.": "meets the targets of pre-training",
    "lm_head.": "names a letter for each token",
}


def wav2vec2_transformers(published: Published) -> Conversion:
    """One tower for sounds as samples, whose tokens are the encoder's; its readout is their mean.

    Both layouts are known: blocks that end in a norm (base), and blocks that begin with one (the large models, "stable
    layer norm"). The peer's sounds may have any length; the tokenizer takes 30 s at a time.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under(f"{published.family}.")
    layer, depth = at + "encoder.layers.{}.", config["num_hidden_layers"]
    stable = config["do_stable_layer_norm"]
    attention, feed = layer + "attention.", layer + "feed_forward."
    table = {
        **_stem(config, at),
        **_positions(published, at + "encoder.pos_conv_embed.conv."),
        **affine("transformer.norm" if stable else "norm", at + "encoder.layer_norm"),
        **blocks(
            depth,
            {
                "norm_mixer": layer + "layer_norm",
                "mixer.to_qkv": (attention + "q_proj", attention + "k_proj", attention + "v_proj"),
                "mixer.to_out": attention + "out_proj",
                "norm_ffn": layer + "final_layer_norm",
                "ffn.to_hidden": feed + "intermediate_dense",
                "ffn.to_out": feed + "output_dense",
            },
        ),
    }
    eps = config["layer_norm_eps"]
    core = (pre_norm if stable else post_norm)(
        depth=depth,
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        activation=activation(published, config["hidden_act"]),
        eps=eps,
    )
    kernel, groups = config["num_conv_pos_embeddings"], config["num_conv_pos_embedding_groups"]
    part = Part(
        Model,
        dim=config["hidden_size"],
        tokenizers={"waveform": _sounds(published)},
        positions={"waveform": Part(Convolutional, kernel=kernel, groups=groups)},
        norm=None if stable else Part(LayerNorm, eps=eps),
        transformer=core,
        readout=Part(Mean),
    )
    aside = {name: why for name in published.weights for start, why in _ASIDE.items() if name.startswith(start)}
    aside[at + "masked_spec_embed"] = "stands for hidden places in pre-training only"
    return Conversion({"waveform": Tower(part, table)}, aside)


def _stem(config: Any, at: str) -> dict[str, From]:
    ours, theirs, layers = "tokenizers.waveform.stem.", at + "feature_extractor.conv_layers.", len(config["conv_dim"])
    table = affine(ours + "norm", at + "feature_projection.layer_norm")
    table |= affine(ours + "project", at + "feature_projection.projection")
    for i in range(layers):
        table[f"{ours}convolutions.{i}.weight"] = From((f"{theirs}{i}.conv.weight",), _with_a_row)
        if config["conv_bias"]:
            table[f"{ours}convolutions.{i}.bias"] = From((f"{theirs}{i}.conv.bias",))
    for i in range(layers if config["feat_extract_norm"] == "layer" else 1):
        table |= affine(f"{ours}norms.{i}", f"{theirs}{i}.layer_norm")
    return table


def _positions(published: Published, theirs: str) -> dict[str, From]:
    """The convolution's weight, which the peer keeps as a length for each place and a direction."""
    names = (theirs + "parametrizations.weight.original0", theirs + "parametrizations.weight.original1")
    if names[0] not in published.weights:
        names = (theirs + "weight_g", theirs + "weight_v")  # as files had them before torch 2
    ours = "positions.waveform.around."
    return {ours + "weight": From(names, _scaled), ours + "bias": From((theirs + "bias",))}


def _with_a_row(weight_WCK: Tensor) -> Tensor:
    return weight_WCK[:, :, None].contiguous()


def _scaled(length_11K: Tensor, direction_DWK: Tensor) -> Tensor:
    return direction_DWK * (length_11K / torch.linalg.vector_norm(direction_DWK, dim=(0, 1), keepdim=True))


def _sounds(published: Published) -> Part:
    """The tokenizer, with the stored preprocessing or else the peer's defaults."""
    import transformers

    config = published.config
    settings = transformers.Wav2Vec2FeatureExtractor(**published.preprocessor).to_dict()
    published.require("feat_extract_activation", config["feat_extract_activation"], "gelu")
    published.require("feat_extract_norm", config["feat_extract_norm"], "group", "layer")
    published.require("feat_proj_layer_norm", config.get("feat_proj_layer_norm", True), True)
    published.require("conv_pos_batch_norm", config.get("conv_pos_batch_norm", False), False)
    published.require("adapter_attn_dim", config.get("adapter_attn_dim"), None)
    published.require("add_adapter", config.get("add_adapter", False), False)
    width = config["conv_dim"][0]
    published.require("conv_dim", tuple(config["conv_dim"]), (width,) * len(config["conv_dim"]))
    stem = Part(
        WaveConvolutionStem,
        kernels=tuple(config["conv_kernel"]),
        strides=tuple(config["conv_stride"]),
        width=width,
        norms="first" if config["feat_extract_norm"] == "group" else "each",
        bias=config["conv_bias"],
        eps=config["layer_norm_eps"],
        channels=1,
    )
    rate, scaled = settings["sampling_rate"], settings["do_normalize"]
    return Part(Waveform, stem=stem, rate_hz=rate, window_s=30.0, scaled=scaled, whole=False)
