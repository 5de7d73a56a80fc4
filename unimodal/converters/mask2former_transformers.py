"""transformers' Mask2Former with a Swin: one model for semantic, instance and panoptic segmentation.

Source: Cheng et al. 2021, arXiv:2112.01527; weights and layout: Wolf et al. 2019, arXiv:1910.03771, github.com/
huggingface/transformers, models/mask2former.
"""

from dataclasses import replace

from unimodal.conversion import Conversion, From, Published, Tower, affine, stacked
from unimodal.converters.swin_transformers import swin_transformers
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.universal_segmenter import universal_segmenter
from unimodal.whole_pictures import whole_pictures

__all__ = ["mask2former_transformers"]

_PIXELS = "model.pixel_level_module."


def mask2former_transformers(published: Published) -> Conversion:
    """One image tower, a :class:`~unimodal.segmenter.Segmenter`; the loss's weights of classes are left aside.

    Pictures keep their size, up to the longest side of the peer's processor, which also enlarges small ones (to 800 px)
    and fills them up to multiples of 32 px with zeros; what the network makes of given pixels is the peer's at
    any size.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, backbone = published.config, published.config["backbone_config"]
    published.require("the backbone", backbone["model_type"], "swin")
    published.require("out_features", tuple(backbone["out_features"]), ("stage1", "stage2", "stage3", "stage4"))
    published.require("pre_norm", config["pre_norm"], False)
    published.require("feature_strides", tuple(config["feature_strides"]), (4, 8, 16, 32))
    published.require("common_stride", config["common_stride"], 4)
    at, under = _PIXELS + "encoder.", len(_PIXELS + "encoder.")
    own = {name[under:]: tensor for name, tensor in published.weights.items() if name.startswith(at)}
    norms = {name: tensor for name, tensor in own.items() if name.startswith("hidden_states_norms.")}
    bare = {
        name: tensor for name, tensor in own.items() if name not in norms and not name.startswith("swin.layernorm.")
    }
    # The readout's norm is not the segmenter's; what is published of it stays aside.
    swin = swin_transformers(replace(published, family="swin", config=backbone, weights=bare), unshifted="never")
    tower = swin.towers["image"]
    table = {
        f"encoder.{ours}": From(tuple(at + name for name in origin.names), origin.join)
        for ours, origin in tower.table.items()
        if not ours.startswith("readout.")
    }
    image = tower.part.kwargs["tokenizers"]["image"].replace(**whole_pictures(published))
    width, inner = config["feature_size"], config["hidden_dim"]
    projected = width != inner or config["enforce_input_projection"]
    depths = (config["encoder_layers"], config["decoder_layers"] - 1)
    part = universal_segmenter(
        tower.part.replace(readout=None, tokenizers={"image": image}),
        classes=len(published.weights["class_predictor.weight"]) - 1,
        queries=config["num_queries"],
        width=width,
        fine_width=config["mask_feature_size"],
        query_width=inner,
        projected=projected,
        heads=config["num_attention_heads"],
        depths=depths,
        hidden=(config["encoder_feedforward_dim"], config["dim_feedforward"]),
        activation=activation(published, config["activation_function"]),
        norm=Part(LayerNorm, eps=1e-5),
    )
    for i in range(4):
        table |= affine(f"norms.{i}", f"{at}hidden_states_norms.stage{i + 1}")
    table |= _pixels(depths[0]) | _masks(depths[1], projected)
    aside = {at + name: why for name, why in swin.aside.items()}
    aside |= {name: "the norm behind the last stage has its own here" for name in published.weights if _behind(name)}
    aside["criterion.empty_weight"] = "weighs classes in the loss only"
    return Conversion({"image": Tower(part, table)}, aside)


def _behind(name: str) -> bool:
    return name.startswith(_PIXELS + "encoder.swin.layernorm.")


def _pixels(depth: int) -> dict[str, From]:
    theirs = _PIXELS + "decoder."
    table = {"pixels.level": From((theirs + "level_embed",))}
    for i in range(3):
        table |= _mapped(f"pixels.project.{i}.parts.0.project", f"{theirs}input_projections.{i}.0")
        table |= affine(f"pixels.project.{i}.parts.1", f"{theirs}input_projections.{i}.1")
    for i in range(depth):
        ours, layer = f"pixels.core.blocks.{i}", f"{theirs}encoder.layers.{i}"
        names = {"to_offset": "sampling_offsets", "to_weight": "attention_weights"}
        names |= {"to_value": "value_proj", "to_out": "output_proj"}
        for own, name in names.items():
            table |= affine(f"{ours}.mixer.mixer.{own}", f"{layer}.self_attn.{name}")
        table |= affine(f"{ours}.norm_mixer", f"{layer}.self_attn_layer_norm") | _fed(ours, layer)
    table |= _mapped("pixels.lateral.0.parts.0.project", theirs + "adapter_1.0", bias=False)
    table |= affine("pixels.lateral.0.parts.1", theirs + "adapter_1.1")
    table |= affine("pixels.smooth.0.parts.0", theirs + "layer_1.0", bias=False)
    table |= affine("pixels.smooth.0.parts.1", theirs + "layer_1.1")
    return table | _mapped("pixels.to_fine", theirs + "mask_projection")


def _masks(depth: int, projected: bool) -> dict[str, From]:
    theirs = "model.transformer_module."
    table = {
        "masks.queries.features": From((theirs + "queries_features.weight",)),
        "masks.queries.positions": From((theirs + "queries_embedder.weight",)),
        "masks.level": From((theirs + "level_embed.weight",)),
        **affine("masks.norm", theirs + "decoder.layernorm"),
        **affine("masks.to_classes", "class_predictor"),
    }
    for i in range(3):
        table |= _mapped(f"masks.project.{i}", f"{theirs}input_projections.{i}") if projected else {}
        table |= affine(f"masks.to_masks.{i}", f"{theirs}decoder.mask_predictor.mask_embedder.{i}.0")
    for i in range(depth):
        reading, own = f"masks.blocks.{i}.parts.0", f"masks.blocks.{i}.parts.1.part"
        layer = f"{theirs}decoder.layers.{i}"
        for kind in ("weight", "bias"):
            table[f"{reading}.mixer.to_qkv.{kind}"] = stacked(f"{layer}.cross_attn.in_proj_{kind}")
        table |= affine(f"{reading}.mixer.to_out", f"{layer}.cross_attn.out_proj")
        table |= affine(f"{reading}.norm_mixer", f"{layer}.cross_attn_layer_norm")
        projections = (f"{layer}.self_attn.{name}_proj" for name in "qkv")
        table |= affine(f"{own}.mixer.to_qkv", *projections)
        table |= affine(f"{own}.mixer.to_out", f"{layer}.self_attn.out_proj")
        table |= affine(f"{own}.norm_mixer", f"{layer}.self_attn_layer_norm") | _fed(own, layer)
    return table


def _fed(ours: str, layer: str) -> dict[str, From]:
    table = affine(f"{ours}.ffn.to_hidden", f"{layer}.fc1") | affine(f"{ours}.ffn.to_out", f"{layer}.fc2")
    return table | affine(f"{ours}.norm_ffn", f"{layer}.final_layer_norm")


def _mapped(ours: str, theirs: str, *, bias: bool = True) -> dict[str, From]:
    """A convolution of one cell, which is a linear map here."""
    table = affine(ours, theirs, bias=bias)
    table[f"{ours}.weight"] = From((f"{theirs}.weight",), lambda weight: weight.flatten(1))
    return table
