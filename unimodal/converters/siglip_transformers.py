"""transformers' SigLIP: both towers, or one saved by itself.

Source: Zhai et al. 2023, arXiv:2303.15343; attention pooling: Zhai et al. 2021, arXiv:2106.04560, sec. 2.3; layout:
github.com/huggingface/transformers, models/siglip.
"""

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.ffns.plain import Plain
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_layers import clip_layers, core_of
from unimodal.peer_settings import activation, image_tower, text_tower
from unimodal.readouts.attention import AttentionReadout
from unimodal.readouts.last_token import LastToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import lattice_rows, patches

__all__ = ["siglip_transformers"]


def siglip_transformers(published: Published) -> Conversion:
    """An image tower with an attention readout and a text tower that reads its last token, filling or not.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, kind = published.config, published.config["model_type"]
    towers = {}
    if kind != "siglip_text_model":
        towers["image"] = _image(published, config.get("vision_config", config))
    if kind != "siglip_vision_model":
        towers["text"] = _text(published, config.get("text_config", config))
    aside = {
        "logit_scale": "log of the factor on cosine similarities",
        "logit_bias": "added to the scaled cosine similarities",
        published.under("vision_model.") + "embeddings.position_ids": "0, 1, 2 ...",
        published.under("text_model.") + "embeddings.position_ids": "0, 1, 2 ...",
    }
    return Conversion(towers, aside)


def _image(published: Published, config) -> Tower:
    at = published.under("vision_model.")
    head, readout = at + "head.", None
    table = {
        **patches(at + "embeddings.patch_embedding"),
        **lattice_rows(at + "embeddings.position_embedding.weight", 0),
        **clip_layers(at, config["num_hidden_layers"]),
        **affine("transformer.norm", at + "post_layernorm"),
    }
    if config.get("vision_use_head", True):
        act = activation(published, config["hidden_act"])
        readout = Part(
            AttentionReadout,
            heads=config["num_attention_heads"],
            ffn=Part(Plain, hidden=config["intermediate_size"], activation=act),
            norm=Part(LayerNorm, eps=config["layer_norm_eps"]),
        )
        table |= {
            "readout.query": From((head + "probe",), lambda probe: probe[0]),
            "readout.mixer.to_qkv.weight": From((head + "attention.in_proj_weight",)),
            "readout.mixer.to_qkv.bias": From((head + "attention.in_proj_bias",)),
            **affine("readout.mixer.to_out", head + "attention.out_proj"),
            **affine("readout.norm", head + "layernorm"),
            **affine("readout.ffn.to_hidden", head + "mlp.fc1"),
            **affine("readout.ffn.to_out", head + "mlp.fc2"),
        }
    part = image_tower(published, config, core=core_of(pre_norm, published, config), prefix=0, readout=readout)
    return Tower(part, table)


def _text(published: Published, config) -> Tower:
    at = published.under("text_model.")
    table = {
        "tokenizers.text.table.weight": From((at + "embeddings.token_embedding.weight",)),
        **lattice_rows(at + "embeddings.position_embedding.weight", 0, "text"),
        **clip_layers(at, config["num_hidden_layers"]),
        **affine("transformer.norm", at + "final_layer_norm"),
        **affine("readout.project", at + "head"),
    }
    part = text_tower(
        published,
        dim=config["hidden_size"],
        vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        core=core_of(pre_norm, published, config),
        readout=Part(LastToken, width=config["projection_size"] or config["hidden_size"], bias=True),
        causal=False,
        pad=config["pad_token_id"],
    )
    return Tower(part, table)
