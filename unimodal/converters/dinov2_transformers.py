"""transformers' DINOv2, with and without register tokens.

Source: Oquab et al. 2023, arXiv:2304.07193; registers: Darcet et al. 2023, arXiv:2309.16588; layout:
github.com/huggingface/transformers, models/dinov2 and models/dinov2_with_registers.
"""

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.part import Part
from unimodal.peer_settings import activation, image_tower
from unimodal.readouts.class_token import ClassToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks, class_rows, lattice_rows, patches

__all__ = ["dinov2_transformers"]


def dinov2_transformers(published: Published) -> Conversion:
    """One image tower that reads its class token.

    The version with registers filters its position table when it shrinks it, the one without does not.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config = published.config
    registers = config.get("num_register_tokens", 0)
    at = published.under("dinov2_with_registers.") or published.under("dinov2.")
    layer = at + "encoder.layer.{}."
    attention = layer + "attention.attention."
    depth, bias, gated = config["num_hidden_layers"], config["qkv_bias"], config["use_swiglu_ffn"]
    positions, tokens = at + "embeddings.position_embeddings", [at + "embeddings.cls_token"]
    table = {
        **patches(at + "embeddings.patch_embeddings.projection"),
        **lattice_rows(positions, 1),
        **class_rows((*tokens, at + "embeddings.register_tokens") if registers else (*tokens,), positions, 1),
        **blocks(
            depth,
            {
                "norm_mixer": layer + "norm1",
                "mixer.to_qkv": (attention + "query", attention + "key", attention + "value"),
                "mixer.to_out": layer + "attention.output.dense",
                "norm_ffn": layer + "norm2",
                "ffn.to_hidden": layer + ("mlp.weights_in" if gated else "mlp.fc1"),
                "ffn.to_out": layer + ("mlp.weights_out" if gated else "mlp.fc2"),
            },
            scales={"scale_mixer": layer + "layer_scale1.lambda1", "scale_ffn": layer + "layer_scale2.lambda1"},
            qkv_bias=bias,
        ),
        **affine("transformer.norm", at + "layernorm"),
    }
    hidden = int(config["hidden_size"] * config["mlp_ratio"])
    core = pre_norm(
        depth=depth,
        heads=config["num_attention_heads"],
        # The gated one keeps the parameters of the plain one, rounded up to a multiple of 8.
        hidden=(int(hidden * 2 / 3) + 7) // 8 * 8 if gated else hidden,
        activation="silu" if gated else activation(published, config["hidden_act"]),
        gated=gated,
        eps=config["layer_norm_eps"],
        qkv_bias=bias,
        layer_scale=config["layerscale_value"],
    )
    part = image_tower(
        published, config, core=core, prefix=1 + registers, readout=Part(ClassToken), antialias=registers > 0
    )
    aside = {at + "embeddings.mask_token": "stands for hidden patches in pre-training only"}
    return Conversion({"image": Tower(part, table)}, aside)
