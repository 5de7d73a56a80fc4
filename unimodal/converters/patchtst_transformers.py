"""transformers' PatchTST: the encoder, and the head of a forecaster.

Source: Nie et al. 2022, arXiv:2211.14730; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/patchtst.

The peer runs the C channels of B series as B C sequences of T patches, and so does the tower: its tokenizer has
``channel_independent=True`` and turns B series into B C sequences, channel after channel. Scaling is done by
``read``, with NaN for what is not observed, and the record undoes it:

    past_values (B, L, C)       batch = tokenizer.collate([tokenizer.read(series) for series in past_values])
    last_hidden_state           model(batch).x.unflatten(0, (B, C))
    prediction_outputs[b]       record_b.restore(model.embed(batch).unflatten(0, (B, C))[b].mT)
"""

from typing import Any

from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.positions.learned import Learned
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.flattened import Flattened
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.renaming import blocks, class_rows, lattice_rows
from unimodal.transformer import Transformer

__all__ = ["patchtst_transformers"]


def patchtst_transformers(published: Published) -> Conversion:
    """One tower for time series; its readout is the forecast of a channel, in scaled units, or the tokens' average.

    Heads for anything else are set aside, unless the series has one channel, where a classifier or regression is a
    map of that channel's average.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("model.")
    published.require("channel_attention", config["channel_attention"], False)
    published.require("share_embedding", config["share_embedding"], True)
    length, patch, stride = config["context_length"], config["patch_length"], config["patch_stride"]
    count, prefix = (length - patch) // stride + 1, int(config["use_cls_token"])
    encoder, layer = at + "encoder.", at + "encoder.layers.{}."
    batch = config["norm_type"] == "batchnorm"
    norms = {"norm_mixer": layer + "norm_sublayer1", "norm_ffn": layer + "norm_sublayer3"}
    positions = encoder + "positional_encoder.position_enc"
    depth = config["num_hidden_layers"]
    maps = {
        "mixer.to_qkv": tuple(layer + f"self_attn.{name}_proj" for name in "qkv"),
        "mixer.to_out": layer + "self_attn.out_proj",
    }
    feeding = {"ffn.to_hidden": layer + "ff.0", "ffn.to_out": layer + "ff.3"}
    table = {
        **affine("tokenizers.time_series.project", encoder + "embedder.input_embedding"),
        **lattice_rows(positions, prefix, "time_series"),
        **blocks(depth, {**maps, **({} if batch else norms)}),
        **_feeding(depth, feeding, bias=config["bias"]),
    }
    aside = {}
    for i in range(depth if batch else 0):
        for ours, theirs in norms.items():
            name = theirs.format(i) + ".batchnorm"
            table |= affine(f"transformer.blocks.{i}.{ours}", name)
            for kind in ("running_mean", "running_var"):
                table[f"transformer.blocks.{i}.{ours}.{kind}"] = From((f"{name}.{kind}",))
            aside[f"{name}.num_batches_tracked"] = "counts the steps of training"
    if prefix:
        table |= class_rows((encoder + "positional_encoder.cls_token",), positions, 1)
    readout, head, left = _head(published, count)
    norm = Part(BatchNorm if batch else LayerNorm, eps=config["norm_eps"])
    ffn = Part(
        Plain,
        hidden=config["ffn_dim"],
        activation=activation(published, config["activation_function"]),
        bias=config["bias"],
    )
    block = Part(
        Block,
        mixer=Part(Full, heads=config["num_attention_heads"]),
        ffn=ffn,
        norm=norm,
        layout="pre" if config["pre_norm"] else "post",
    )
    part = Part(
        Model,
        dim=config["d_model"],
        tokenizers={"time_series": _tokenizer(published, length, patch, stride)},
        positions={"time_series": Part(Learned, grid=(count,))},
        prefix=prefix,
        transformer=Part(Transformer, depth=depth, blocks=block),
        readout=readout,
    )
    return Conversion({"time_series": Tower(part, {**table, **head})}, {**aside, **left})


def _tokenizer(published: Published, length: int, patch: int, stride: int) -> Part:
    config = published.config
    scaling = "mean" if config["scaling"] is True else config["scaling"] or "none"
    published.require("scaling", scaling, "std", "mean", "none")
    published.require("whether patch_stride is at most patch_length", stride <= patch, True)
    return Part(
        catalog("tokenizers")["time_series"],
        patch=patch,
        stride=stride,
        steps=length,
        limit=max(512, ((length - patch) // stride + 1) * config["num_input_channels"]),
        scaler=scaling,
        eps=config.get("minimum_scale", 1e-5) if scaling == "std" else 0.0,
        padded=False,
        marked=False,
        gaps="zero",
        channel_independent=True,
    )


def _feeding(depth: int, names: dict[str, str], *, bias: bool) -> dict[str, From]:
    """The feed-forward's maps, whose biases the peer can do without."""
    table: dict[str, From] = {}
    for i in range(depth):
        for ours, theirs in names.items():
            table |= affine(f"transformer.blocks.{i}.{ours}", theirs.format(i), bias=bias)
    return table


def _head(published: Published, count: int) -> tuple[Part, dict[str, From], dict[str, str]]:
    """The readout, its tensors, and the tensors of heads that are left aside."""
    config = published.config
    tensors = [name for name in published.weights if name.startswith("head.")]
    pool = Part(ClassToken) if config["use_cls_token"] else Part(Mean)
    if not tensors:
        return pool, {}, {}
    kind = str((config.get("architectures") or ["?"])[0])
    if kind == "PatchTSTForPretraining":
        return pool, {}, dict.fromkeys(tensors, "gives hidden patches back in pre-training only")
    if "head.projection.weight" not in tensors and "head.linear.weight" not in tensors:
        return pool, {}, dict.fromkeys(tensors, "gives distributions, or has a map for each channel")
    name = "head.projection" if "head.projection.weight" in tensors else "head.linear"
    width = len(published.weights[f"{name}.weight"])
    forecast = kind == "PatchTSTForPrediction"
    if not forecast and (config["num_input_channels"] > 1 or config.get("output_range")):
        return (
            pool,
            {},
            dict.fromkeys(tensors, "is a map of all channels together, which are sequences of their own here"),
        )
    if config["use_cls_token"] or config["pooling_type"] == "mean":
        return Part(Head, pool=pool, width=width), affine("readout.project", name), {}
    published.require("pooling_type", config["pooling_type"], *((None, "mean") if forecast else ("mean",)))
    readout: Any = Part(Flattened, grid=(count,), width=width)
    return readout, affine("readout.project", name), {}
