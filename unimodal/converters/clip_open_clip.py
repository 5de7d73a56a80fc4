"""open_clip's own towers: its ViT for pictures and its text transformer.

Source: Radford et al. 2021, arXiv:2103.00020; Cherti et al. 2022, arXiv:2212.07143; layout: Ilharco et al. 2021,
github.com/mlfoundations/open_clip.
"""

from collections.abc import Mapping
from typing import Any

from unimodal.conversion import Conversion, From, Published, Tower, affine, transposed
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import image_tower, text_tower
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.readouts.last_token import LastToken
from unimodal.readouts.mean import Mean
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks, class_rows, lattice_rows, patches

__all__ = ["clip_open_clip"]

# Settings whose other values need parts that the core does not have, with open_clip's defaults.
_BLOCK = {"block_type": None, "qk_norm": False, "scaled_cosine_attn": False, "scale_heads": False}
_BLOCK |= {"scale_attn_inner": False, "scale_attn": False, "scale_fc": False, "act_kwargs": None}
_IMAGE = {**_BLOCK, "timm_model_name": None, "attentional_pool": False, "final_ln_after_pool": False}
_TEXT = {**_BLOCK, "hf_model_name": None, "embed_cls": False, "no_causal_mask": False, "final_ln_after_pool": False}


def clip_open_clip(published: Published) -> Conversion:
    """An image tower (class token or mean) and a causal text tower that reads its end token, both projected.

    Raises:
        CheckpointError: a tower is timm's or transformers', or a setting needs a part that the core does not have.
    """
    config = published.config
    published.require("custom_text", "multimodal_cfg" in config, False)
    towers = {
        "image": _image(published, config["vision_cfg"], config["embed_dim"]),
        "text": _text(published, config["text_cfg"], config["embed_dim"]),
    }
    aside = {
        "logit_scale": "log of the factor on cosine similarities",
        "logit_bias": "added to the scaled cosine similarities",
        published.under("text.") + "attn_mask": "the causal order, which side.causal states",
    }
    return Conversion(towers, aside)


def _image(published: Published, config: Mapping[str, Any], width: int) -> Tower:
    for setting, value in _IMAGE.items():
        published.require(f"vision_cfg.{setting}", config.get(setting, value), value)
    layers, dim = config.get("layers", 12), config.get("width", 768)
    published.require("the vision tower", type(layers).__name__, "int")
    pooling = config.get("pool_type", "tok")
    published.require("vision_cfg.pool_type", pooling, "tok", "avg")
    before, eps = not config.get("no_ln_pre", False), _eps(config)
    table = {
        **patches("visual.conv1", bias=False),
        **lattice_rows("visual.positional_embedding", 1),
        **class_rows(("visual.class_embedding",), "visual.positional_embedding", 1),
        **(affine("norm", "visual.ln_pre") if before else {}),
        **_blocks("visual.transformer.", layers, config),
        **affine("transformer.norm", "visual.ln_post"),
        "readout.project.weight": transposed("visual.proj"),
    }
    readout = Part(ClassToken, width=width)
    if pooling == "avg":
        readout = Part(Head, pool=Part(Mean), width=width, bias=False)
    part = image_tower(
        published,
        {
            "hidden_size": dim,
            "image_size": config.get("image_size", 224),
            "patch_size": config.get("patch_size", 16),
        },
        core=_core(published, config, layers, dim, dim // config.get("head_width", 64)),
        prefix=1,
        norm=Part(LayerNorm, eps=eps) if before else None,
        stem_bias=False,
        readout=readout,
        antialias=True,
    )
    return Tower(part, table)


def _text(published: Published, config: Mapping[str, Any], width: int) -> Tower:
    for setting, value in _TEXT.items():
        published.require(f"text_cfg.{setting}", config.get(setting, value), value)
    published.require("text_cfg.pool_type", config.get("pool_type", "argmax"), "argmax", "eos")
    at = published.under("text.")
    layers, dim = config.get("layers", 12), config.get("width", 512)
    projected, bias = config.get("proj_type", "linear") != "none", config.get("proj_bias", False)
    table = {
        "tokenizers.text.table.weight": From((at + "token_embedding.weight",)),
        **lattice_rows(at + "positional_embedding", 0, "text"),
        **_blocks(at + "transformer.", layers, config),
        **affine("transformer.norm", at + "ln_final"),
    }
    if projected and bias:
        table |= affine("readout.project", at + "text_projection")
    elif projected:
        table |= {"readout.project.weight": transposed(at + "text_projection")}
    part = text_tower(
        published,
        dim=dim,
        vocabulary=config.get("vocab_size", 49408),
        context=config.get("context_length", 77),
        core=_core(published, config, layers, dim, config.get("heads", 8)),
        readout=Part(LastToken, width=width if projected else None, bias=bias),
        causal=True,
    )
    return Tower(part, table)


def _blocks(at: str, depth: int, config: Mapping[str, Any]) -> dict[str, From]:
    layer = at + "resblocks.{}."
    names = {
        "norm_mixer": layer + "ln_1",
        "mixer.to_out": layer + "attn.out_proj",
        "norm_ffn": layer + "ln_2",
        "ffn.to_hidden": layer + "mlp.c_fc",
        "ffn.to_out": layer + "mlp.c_proj",
    }
    scales = {"scale_mixer": layer + "ls_1.gamma", "scale_ffn": layer + "ls_2.gamma"}
    table = blocks(depth, names, scales=scales if config.get("ls_init_value") is not None else None)
    for i in range(depth):
        for kind in ("weight", "bias"):
            origin = From((f"{layer}attn.in_proj_{kind}".format(i),))
            table[f"transformer.blocks.{i}.mixer.to_qkv.{kind}"] = origin
    return table


def _core(published: Published, config: Mapping[str, Any], depth: int, dim: int, heads: int) -> Part:
    return pre_norm(
        depth=depth,
        heads=heads,
        hidden=int(dim * config.get("mlp_ratio", 4.0)),
        activation="gelu_quick" if published.config.get("quick_gelu", False) else "gelu",
        eps=_eps(config),
        layer_scale=config.get("ls_init_value"),
    )


def _eps(config: Mapping[str, Any]) -> float:
    """open_clip's norms are torch's, with its default, unless ``norm_kwargs`` says otherwise."""
    return float((config.get("norm_kwargs") or {}).get("eps", 1e-5))
