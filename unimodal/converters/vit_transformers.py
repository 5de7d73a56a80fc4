"""transformers' ViT: the model with its pooler, without it, and with a classifier.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/vit.
"""

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.part import Part
from unimodal.peer_settings import activation, image_tower
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks, class_rows, lattice_rows, patches

__all__ = ["vit_transformers"]


def vit_transformers(published: Published) -> Conversion:
    """One image tower; its readout gives logits (with a classifier), the pooler's output, or the class token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("vit.")
    layer = at + "encoder.layer.{}."
    attention = layer + "attention.attention."
    depth, bias = config["num_hidden_layers"], config["qkv_bias"]
    table = {
        **patches(at + "embeddings.patch_embeddings.projection"),
        **lattice_rows(at + "embeddings.position_embeddings", 1),
        **class_rows((at + "embeddings.cls_token",), at + "embeddings.position_embeddings", 1),
        **blocks(
            depth,
            {
                "norm_mixer": layer + "layernorm_before",
                "mixer.to_qkv": (attention + "query", attention + "key", attention + "value"),
                "mixer.to_out": layer + "attention.output.dense",
                "norm_ffn": layer + "layernorm_after",
                "ffn.to_hidden": layer + "intermediate.dense",
                "ffn.to_out": layer + "output.dense",
            },
            qkv_bias=bias,
        ),
        **affine("transformer.norm", at + "layernorm"),
    }
    readout = Part(ClassToken)
    if "classifier.weight" in published.weights:
        readout = Part(Head, pool=readout, width=len(published.weights["classifier.weight"]))
        table |= affine("readout.project", "classifier")
    elif f"{at}pooler.dense.weight" in published.weights:
        act, width = activation(published, config["pooler_act"]), config["pooler_output_size"]
        readout = Part(Head, pool=readout, width=width or config["hidden_size"], activation=act)
        table |= affine("readout.project", f"{at}pooler.dense")
    core = pre_norm(
        depth=depth,
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        activation=activation(published, config["hidden_act"]),
        eps=config["layer_norm_eps"],
        qkv_bias=bias,
    )
    part = image_tower(published, config, core=core, prefix=1, readout=readout)
    aside = {at + "embeddings.mask_token": "stands for hidden patches in pre-training only"}
    return Conversion({"image": Tower(part, table)}, aside)
