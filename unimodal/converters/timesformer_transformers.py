"""transformers' TimeSformer: attention over time, then over space, with a class token; by itself and as a classifier.

Source: Bertasius et al. 2021, arXiv:2102.05095; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/timesformer.
"""

from torch import Tensor

from unimodal.block import Block
from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.ffns.plain import Plain
from unimodal.mixers.divided_space_time import DividedSpaceTime
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_clips import video_tower
from unimodal.peer_settings import activation
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.renaming import class_rows
from unimodal.transformer import Transformer

__all__ = ["timesformer_transformers"]


def timesformer_transformers(published: Published) -> Conversion:
    """One video tower; its readout gives logits where there is a classifier, else the class token.

    A divided layer is two blocks (see :class:`unimodal.mixers.divided_space_time.DividedSpaceTime`), a joint one is
    one. Places and frames have a table each in the peer; here one table holds their sums.

    Raises:
        CheckpointError: a setting needs a part that the core does not have (attention over space only), or tensors
            do not fit.
    """
    config, at = published.config, published.under("timesformer.")
    published.require("attention_type", config["attention_type"], "divided_space_time", "joint_space_time")
    divided = config["attention_type"] == "divided_space_time"
    places, patch = at + "embeddings.position_embeddings", config["patch_size"]
    rows, columns = (patch, patch) if isinstance(patch, int) else (int(patch[0]), int(patch[1]))
    stem, bias = at + "embeddings.patch_embeddings.projection", config["qkv_bias"]
    table = {
        "tokenizers.video.stem.project.weight": From((f"{stem}.weight",), lambda kernel: kernel[:, :, None]),
        "tokenizers.video.stem.project.bias": From((f"{stem}.bias",)),
        "positions.video.table": From((places, at + "embeddings.time_embeddings"), _sums),
        **class_rows((at + "embeddings.cls_token",), places, 1),
        **affine("transformer.norm", at + "layernorm"),
    }
    for i in range(config["num_hidden_layers"]):
        layer, ours = f"{at}encoder.layer.{i}.", f"transformer.blocks.{2 * i + 1 if divided else i}."
        mixer = f"{ours}mixer.full." if divided else f"{ours}mixer."
        table |= affine(f"{ours}norm_mixer", f"{layer}layernorm_before")
        table |= affine(f"{mixer}to_qkv", f"{layer}attention.attention.qkv", bias=bias)
        table |= affine(f"{mixer}to_out", f"{layer}attention.output.dense")
        table |= affine(f"{ours}norm_ffn", f"{layer}layernorm_after")
        table |= affine(f"{ours}ffn.to_hidden", f"{layer}intermediate.dense")
        table |= affine(f"{ours}ffn.to_out", f"{layer}output.dense")
        if divided:
            time, out = f"transformer.blocks.{2 * i}.", f"{layer}temporal_attention.output.dense"
            table |= affine(f"{time}norm_mixer", f"{layer}temporal_layernorm")
            table |= affine(f"{time}mixer.full.to_qkv", f"{layer}temporal_attention.attention.qkv", bias=bias)
            behind = (f"{layer}temporal_dense.weight", f"{layer}temporal_dense.bias")
            table[f"{time}mixer.full.to_out.weight"] = From((behind[0], f"{out}.weight"), _one_map)
            table[f"{time}mixer.full.to_out.bias"] = From((*behind, f"{out}.bias"), _one_bias)
    readout = Part(ClassToken)
    if "classifier.weight" in published.weights:
        readout = Part(Head, pool=readout, width=len(published.weights["classifier.weight"]))
        table |= affine("readout.project", "classifier")
    part = video_tower(
        published,
        tubelet=(1, rows, columns),
        core=_core(published, divided),
        prefix=1,
        readout=readout,
        processor="VideoMAEImageProcessor",
        image_mean=(0.485, 0.456, 0.406),
        image_std=(0.229, 0.224, 0.225),
    )
    return Conversion({"video": Tower(part, table)})


def _core(published: Published, divided: bool) -> Part:
    config = published.config
    norm = Part(LayerNorm, eps=config["layer_norm_eps"])
    settings = {"heads": config["num_attention_heads"], "bias": config["qkv_bias"]}
    act = activation(published, config["hidden_act"])
    ffn = Part(Plain, hidden=config["intermediate_size"], activation=act)
    blocks = (Part(Block, mixer=Part(Full, **settings), ffn=ffn, norm=norm),)
    if divided:
        blocks = (
            Part(Block, mixer=Part(DividedSpaceTime, over="time", **settings), ffn=None, norm=norm),
            Part(Block, mixer=Part(DividedSpaceTime, over="space", **settings), ffn=ffn, norm=norm),
        )
    return Part(Transformer, depth=len(blocks) * config["num_hidden_layers"], blocks=blocks, norm=norm)


def _sums(places: Tensor, times: Tensor) -> Tensor:
    """(T P, D): place p at time t; the peer's first place is the class token's."""
    return (times[0, :, None] + places[0, None, 1:]).flatten(0, 1)


def _one_map(behind: Tensor, before: Tensor) -> Tensor:
    return (behind.double() @ before.double()).to(before.dtype)


def _one_bias(behind: Tensor, shift: Tensor, before: Tensor) -> Tensor:
    return (behind.double() @ before.double() + shift.double()).to(before.dtype)
