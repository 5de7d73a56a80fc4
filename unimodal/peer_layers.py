"""Peer layers: the layers that several families of transformers have under the same names, in the core's words.

Source: Wolf et al. 2019, arXiv:1910.03771, github.com/huggingface/transformers, models/vit and models/clip.
"""

from collections.abc import Callable, Mapping
from typing import Any

from unimodal.conversion import From, Published, affine
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.renaming import blocks

__all__ = ["class_readout", "clip_layers", "core_of", "vit_layers"]


def vit_layers(at: str, depth: int, *, qkv_bias: bool = True) -> dict[str, From]:
    """The blocks of a family that is built on ViT's layers (ViT, AST, ViViT, VideoMAE).

    Args:
        at: What stands in front of ``encoder.layer``.
        depth: Layers.
        qkv_bias: Whether queries, keys and values have a bias under these names.
    """
    layer = at + "encoder.layer.{}."
    attention = layer + "attention.attention."
    names = {
        "norm_mixer": layer + "layernorm_before",
        "mixer.to_qkv": (attention + "query", attention + "key", attention + "value"),
        "mixer.to_out": layer + "attention.output.dense",
        "norm_ffn": layer + "layernorm_after",
        "ffn.to_hidden": layer + "intermediate.dense",
        "ffn.to_out": layer + "output.dense",
    }
    return blocks(depth, names, qkv_bias=qkv_bias)


def clip_layers(at: str, depth: int) -> dict[str, From]:
    """The blocks of a family that is built on CLIP's layers (CLIP, SigLIP); ``at`` stands before ``encoder.layers``."""
    layer = at + "encoder.layers.{}."
    names = {
        "norm_mixer": layer + "layer_norm1",
        "mixer.to_qkv": tuple(f"{layer}self_attn.{name}_proj" for name in "qkv"),
        "mixer.to_out": layer + "self_attn.out_proj",
        "norm_ffn": layer + "layer_norm2",
        "ffn.to_hidden": layer + "mlp.fc1",
        "ffn.to_out": layer + "mlp.fc2",
    }
    return blocks(depth, names)


def core_of(recipe: Callable[..., Part], published: Published, config: Mapping[str, Any], **more: Any) -> Part:
    """The transformer whose sizes a configuration gives under their usual names.

    Args:
        recipe: :func:`unimodal.recipes.pre_norm.pre_norm` or :func:`unimodal.recipes.post_norm.post_norm`.
        published: For messages.
        config: With ``num_hidden_layers`` and the like.
        more: Goes to the recipe.

    Raises:
        CheckpointError: the core does not have the activation.
    """
    return recipe(
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        activation=activation(published, config["hidden_act"]),
        eps=config["layer_norm_eps"],
        **more,
    )


def class_readout(published: Published, at: str) -> tuple[Part, dict[str, From]]:
    """The class token behind a classifier if there is one, else behind a pooler if there is one; and their tensors.

    Raises:
        CheckpointError: the core does not have the pooler's activation.
    """
    config, readout = published.config, Part(ClassToken)
    if "classifier.weight" in published.weights:
        width = len(published.weights["classifier.weight"])
        return Part(Head, pool=readout, width=width), affine("readout.project", "classifier")
    if f"{at}pooler.dense.weight" in published.weights:
        act, width = activation(published, config["pooler_act"]), config["pooler_output_size"]
        readout = Part(Head, pool=readout, width=width or config["hidden_size"], activation=act)
        return readout, affine("readout.project", f"{at}pooler.dense")
    return readout, {}
