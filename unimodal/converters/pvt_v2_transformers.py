"""transformers' PVTv2: the model and the backbone with the mean of their last map, and the model with a classifier.

Source: Wang et al. 2021, arXiv:2106.13797; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/pvt_v2.
"""

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.recipes.pvt_v2 import pvt_v2
from unimodal.reduced_block import reduced_block
from unimodal.renaming import patches

__all__ = ["pvt_v2_transformers"]

_NAMES = {
    "norm_mixer": "layer_norm_1",
    "to_qkv": "attention.query attention.key attention.value",
    "to_out": "attention.proj",
    "reduce": "attention.spatial_reduction",
    "norm_reduced": "attention.layer_norm",
    "norm_ffn": "layer_norm_2",
    "to_hidden": "mlp.dense1",
    "around": "mlp.dwconv.dwconv",
    "from_hidden": "mlp.dense2",
}


def pvt_v2_transformers(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the mean.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("pvt_v2.")
    depths, linear = config["depths"], config["linear_attention"]
    published.require("num_channels", config["num_channels"], 3)
    published.require("num_encoder_blocks", config["num_encoder_blocks"], len(depths))
    published.require("patch_sizes", list(config["patch_sizes"]), [7] + [3] * (len(depths) - 1))
    published.require("strides", list(config["strides"]), [4] + [2] * (len(depths) - 1))
    norm = Part(LayerNorm, eps=config["layer_norm_eps"])
    reductions = [None] * len(depths) if linear else config["sr_ratios"]
    sizes = [config[name] for name in ("hidden_sizes", "num_attention_heads", "mlp_ratios")]
    classes = len(published.weights["classifier.weight"]) if "classifier.weight" in published.weights else None
    part = pvt_v2(
        classes=classes,
        stages=tuple(zip(depths, *sizes, reductions, strict=True)),
        activation=activation(published, config["hidden_act"]),
        bias=config["qkv_bias"],
        norm=norm,
        reduced_norm=norm,
    )
    table = {
        **patches(at + "encoder.layers.0.patch_embedding.proj"),
        **affine("norm", at + "encoder.layers.0.patch_embedding.layer_norm"),
        **(affine("readout.project", "classifier") if classes else {}),
    }
    for i, (depth, reduction) in enumerate(zip(depths, reductions, strict=True)):
        stage, layer = f"transformer.stages.{i}", f"{at}encoder.layers.{i}"
        table |= affine(f"{stage}.norm", f"{layer}.layer_norm")
        if i:
            table |= affine(f"transformer.between.{i - 1}.convolution", f"{layer}.patch_embedding.proj")
            table |= affine(f"transformer.between.{i - 1}.behind", f"{layer}.patch_embedding.layer_norm")
        for j in range(depth):
            ours, block = f"{stage}.blocks.{j}", f"{layer}.blocks.{j}"
            table |= reduced_block(ours, block, _NAMES, reduction=reduction, bias=config["qkv_bias"])
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)})
