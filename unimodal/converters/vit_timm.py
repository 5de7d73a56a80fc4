"""timm's VisionTransformer: ViT, DeiT (distilled too), DINOv2 with registers, CLIP and SigLIP image towers.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929; Touvron et al. 2020, arXiv:2012.12877; Oquab et al. 2023,
arXiv:2304.07193; Darcet et al. 2023, arXiv:2309.16588; weights and layout: Wightman 2019, github.com/huggingface/
pytorch-image-models.
"""

from typing import Any

import torch

from unimodal.catalog import catalog
from unimodal.conversion import Conversion, From, Published, Tower, affine, stacked
from unimodal.ffns.plain import Plain
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.attention import AttentionReadout
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.readouts.prefix_average import PrefixAverage
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks, class_rows, lattice_rows, patches
from unimodal.stems.patch import PatchStem
from unimodal.timm_architecture import timm_architecture

__all__ = ["vit_timm"]

_BLOCK = {
    "norm_mixer": "blocks.{}.norm1",
    "mixer.to_qkv": "blocks.{}.attn.qkv",
    "mixer.to_out": "blocks.{}.attn.proj",
    "norm_ffn": "blocks.{}.norm2",
    "ffn.to_hidden": "blocks.{}.mlp.fc1",
    "ffn.to_out": "blocks.{}.mlp.fc2",
}
_QK_NORM = {"mixer.norm_q": "blocks.{}.attn.q_norm", "mixer.norm_k": "blocks.{}.attn.k_norm"}
_SCALES = {"scale_mixer": "blocks.{}.ls1.gamma", "scale_ffn": "blocks.{}.ls2.gamma"}
_ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "gelu_quick", "SiLU": "silu", "ReLU": "relu"}


def vit_timm(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the pooled vector.

    The architecture's numbers come from timm itself, which builds it without memory for weights.

    Raises:
        CheckpointError: the architecture needs a part that the core does not have, or tensors do not fit.
    """
    peer = timm_architecture(published)
    block, dim, prefix = peer.blocks[0], peer.embed_dim, peer.num_prefix_tokens
    published.require("pooling", peer.global_pool, "token", "avg", "map", "")
    published.require("pooling over the prefix", peer.pool_include_prefix, False)
    published.require("the block", type(block).__name__, "Block")
    published.require("the attention", type(block.attn).__name__, "Attention")
    published.require("the feed-forward", type(block.mlp).__name__, "Mlp", "GluMlp")
    published.require("the norm", type(block.norm1).__name__, "LayerNorm")
    gated = type(block.mlp).__name__ == "GluMlp"
    activation = _activation(published, block.mlp.act)
    eps = float(block.norm1.eps)
    qk_norm = not isinstance(block.attn.q_norm, torch.nn.Identity)
    scaled = not isinstance(block.ls1, torch.nn.Identity)
    normed = not isinstance(peer.norm, torch.nn.Identity)
    before = not isinstance(peer.norm_pre, torch.nn.Identity)
    qkv_bias = block.attn.qkv.bias is not None
    patch = peer.patch_embed.patch_size
    published.require("the patch", patch[0], patch[1])
    rows = 0 if peer.no_embed_class else prefix
    tokens = [name for name in ("cls_token", "dist_token", "reg_token") if getattr(peer, name, None) is not None]
    stem_bias = peer.patch_embed.proj.bias is not None

    readout, readout_table = _readout(peer, activation, eps)
    part = Part(
        Model,
        dim=dim,
        tokenizers={
            "image": Part(
                catalog("tokenizers")["image"],
                stem=Part(PatchStem, patch=patch[0], bias=stem_bias),
                **published.pictures,
            )
        },
        positions={"image": Part(Learned, grid=tuple(peer.patch_embed.grid_size), antialias=True)},
        prefix=prefix,
        norm=Part(LayerNorm, eps=float(peer.norm_pre.eps)) if before else None,
        transformer=pre_norm(
            depth=len(peer.blocks),
            heads=block.attn.num_heads,
            hidden=block.mlp.fc2.in_features,
            activation=activation,
            gated=gated,
            eps=eps,
            qkv_bias=qkv_bias,
            qk_norm=qk_norm,
            layer_scale=1.0 if scaled else None,
            final_norm=normed,
        ),
        readout=readout,
    )
    table = {
        **patches("patch_embed.proj", bias=stem_bias),
        **lattice_rows("pos_embed", rows),
        **(class_rows(tuple(tokens), "pos_embed", rows) if prefix else {}),
        **(affine("norm", "norm_pre") if before else {}),
        **blocks(
            len(peer.blocks),
            {**_BLOCK, **(_QK_NORM if qk_norm else {})},
            scales=_SCALES if scaled else None,
            qkv_bias=qkv_bias,
        ),
        **(affine("transformer.norm", "norm") if normed else {}),
        **readout_table,
    }
    return Conversion({"image": Tower(part, table)})


def _activation(published: Published, layer: torch.nn.Module) -> str:
    name = type(layer).__name__
    published.require("the activation", name, *_ACTIVATIONS)
    return "gelu_tanh" if getattr(layer, "approximate", "none") == "tanh" else _ACTIVATIONS[name]


def _readout(peer: Any, activation: str, eps: float) -> tuple[Part | None, dict[str, From]]:
    classes = peer.num_classes or None
    if getattr(peer, "dist_token", None) is not None:
        table = {**affine("readout.heads.0", "head"), **affine("readout.heads.1", "head_dist")} if classes else {}
        return Part(PrefixAverage, count=2, width=classes), table
    if peer.global_pool == "":
        return None, {}
    pool, table = _pool(peer, activation, eps)
    norm = None if isinstance(peer.fc_norm, torch.nn.Identity) else Part(LayerNorm, eps=float(peer.fc_norm.eps))
    if norm is None and classes is None:
        return pool, {f"readout.{name}": origin for name, origin in table.items()}
    table = {f"readout.pool.{name}": origin for name, origin in table.items()}
    table |= affine("readout.norm", "fc_norm") if norm is not None else {}
    table |= affine("readout.project", "head") if classes else {}
    return Part(Head, pool=pool, norm=norm, width=classes), table


def _pool(peer: Any, activation: str, eps: float) -> tuple[Part, dict[str, From]]:
    if peer.global_pool != "map":
        return Part(ClassToken if peer.global_pool == "token" else Mean), {}
    pool = peer.attn_pool
    ffn = Part(Plain, hidden=pool.mlp.fc2.in_features, activation=activation)
    part = Part(AttentionReadout, heads=pool.num_heads, ffn=ffn, norm=Part(LayerNorm, eps=float(pool.norm.eps)))
    return part, {
        "query": From(("attn_pool.latent",), lambda latent: latent[0]),
        "mixer.to_qkv.weight": stacked("attn_pool.q.weight", "attn_pool.kv.weight"),
        "mixer.to_qkv.bias": stacked("attn_pool.q.bias", "attn_pool.kv.bias"),
        **affine("mixer.to_out", "attn_pool.proj"),
        **affine("norm", "attn_pool.norm"),
        **affine("ffn.to_hidden", "attn_pool.mlp.fc1"),
        **affine("ffn.to_out", "attn_pool.mlp.fc2"),
    }
