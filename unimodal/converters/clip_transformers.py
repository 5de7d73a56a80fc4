"""transformers' CLIP: both towers, or one saved by itself.

Source: Radford et al. 2021, arXiv:2103.00020; layout: github.com/huggingface/transformers, models/clip.
"""

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_layers import clip_layers, core_of
from unimodal.peer_settings import image_tower, text_tower
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.last_token import LastToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import class_rows, lattice_rows, patches

__all__ = ["clip_transformers"]


def clip_transformers(published: Published) -> Conversion:
    """An image tower that reads its class token and a causal text tower that reads its end token.

    Both norm all tokens behind the last block; the peer norms those that it reads, which is the same vector.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, kind = published.config, published.config["model_type"]
    towers = {}
    if kind != "clip_text_model":
        towers["image"] = _image(published, config.get("vision_config", config))
    if kind != "clip_vision_model":
        towers["text"] = _text(published, config.get("text_config", config))
    aside = {
        "logit_scale": "log of the factor on cosine similarities",
        published.under("vision_model.") + "embeddings.position_ids": "0, 1, 2 ...",
        published.under("text_model.") + "embeddings.position_ids": "0, 1, 2 ...",
    }
    return Conversion(towers, aside)


def _image(published: Published, config) -> Tower:
    at = published.under("vision_model.")
    positions = at + "embeddings.position_embedding.weight"
    table = {
        **patches(at + "embeddings.patch_embedding", bias=False),
        **lattice_rows(positions, 1),
        **class_rows((at + "embeddings.class_embedding",), positions, 1),
        **affine("norm", at + "pre_layrnorm"),
        **clip_layers(at, config["num_hidden_layers"]),
        **affine("transformer.norm", at + "post_layernorm"),
    }
    width = _projection(published, table, "visual_projection")
    part = image_tower(
        published,
        config,
        core=core_of(pre_norm, published, config),
        prefix=1,
        norm=Part(LayerNorm, eps=config["layer_norm_eps"]),
        stem_bias=False,
        readout=Part(ClassToken, width=width),
    )
    return Tower(part, table)


def _text(published: Published, config) -> Tower:
    at = published.under("text_model.")
    table = {
        "tokenizers.text.table.weight": From((at + "embeddings.token_embedding.weight",)),
        **lattice_rows(at + "embeddings.position_embedding.weight", 0, "text"),
        **clip_layers(at, config["num_hidden_layers"]),
        **affine("transformer.norm", at + "final_layer_norm"),
    }
    width = _projection(published, table, "text_projection")
    part = text_tower(
        published,
        dim=config["hidden_size"],
        vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        core=core_of(pre_norm, published, config),
        readout=Part(LastToken, width=width),
        causal=True,
    )
    return Tower(part, table)


def _projection(published: Published, table: dict[str, From], name: str) -> int | None:
    """The width of a tower's projection, or None if it was saved without one."""
    if f"{name}.weight" not in published.weights:
        return None
    table |= affine("readout.project", name, bias=False)
    return len(published.weights[f"{name}.weight"])
