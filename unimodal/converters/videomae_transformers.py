"""transformers' VideoMAE: the encoder by itself, with a classifier, and out of pre-training.

Source: Tong et al. 2022, arXiv:2203.12602; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/videomae.
"""

import torch
from torch import Tensor

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_clips import video_tower
from unimodal.peer_layers import core_of, vit_layers
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.recipes.pre_norm import pre_norm

__all__ = ["videomae_transformers"]


def videomae_transformers(published: Published) -> Conversion:
    """One video tower; its readout gives the average token, or logits where there is a classifier.

    The peer's positions are fixed waves over the flat number of a tubelet. They are in no file; here they are a table,
    which can be resampled for clips of other sizes. Keys have no bias in the peer; here it is zero.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("videomae.")
    attention = at + "encoder.layer.{}.attention.attention."
    depth, dim, patch = config["num_hidden_layers"], config["hidden_size"], config["patch_size"]
    rows, columns = (patch, patch) if isinstance(patch, int) else (int(patch[0]), int(patch[1]))
    table = {
        **affine("tokenizers.video.stem.project", at + "embeddings.patch_embeddings.projection"),
        **vit_layers(at, depth, qkv_bias=False),
    }
    if config["qv_bias"]:
        for i in range(depth):
            biases = (attention.format(i) + "q_bias", attention.format(i) + "v_bias")
            table[f"transformer.blocks.{i}.mixer.to_qkv.bias"] = From(biases, _without_keys)
    averaged = config["use_mean_pooling"]
    if not averaged:
        table |= affine("transformer.norm", at + "layernorm")
    readout = Part(Mean)
    if "classifier.weight" in published.weights:
        published.require("use_mean_pooling", averaged, True)
        width = len(published.weights["classifier.weight"])
        readout = Part(Head, pool=readout, norm=Part(LayerNorm, eps=1e-5), width=width)
        table |= affine("readout.norm", "fc_norm") | affine("readout.project", "classifier")
    core = core_of(pre_norm, published, config, qkv_bias=config["qv_bias"], final_norm=not averaged)
    part = video_tower(
        published,
        tubelet=(config["tubelet_size"], rows, columns),
        core=core,
        prefix=0,
        readout=readout,
        processor="VideoMAEImageProcessor",
    )
    cells = 1
    for n in part.kwargs["positions"]["video"].kwargs["grid"]:
        cells *= n
    table["positions.video.table"] = From((), lambda: _waves(cells, dim))
    why = "rebuilds hidden tubelets in pre-training only"
    aside = {name: why for name in published.weights if name.startswith(("decoder.", "encoder_to_decoder."))}
    return Conversion({"video": Tower(part, table)}, aside | {"mask_token": why})


def _without_keys(q: Tensor, v: Tensor) -> Tensor:
    return torch.cat([q, torch.zeros_like(q), v])


def _waves(cells: int, dim: int) -> Tensor:
    """sin(n w) and cos(n w) in turn, w_j = 10000^(-2 j / D), j = 0 .. D / 2 - 1, n the flat number of a tubelet."""
    step = torch.arange(dim, dtype=torch.float64) // 2
    angle = torch.arange(cells, dtype=torch.float64)[:, None] / 10_000 ** (2 * step / dim)
    even = torch.arange(dim) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).float()
