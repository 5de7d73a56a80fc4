"""transformers' PVT: the model with its class token, and with a classifier.

Source: Wang et al. 2021, arXiv:2102.12122; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/pvt.
"""

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.recipes.pvt import pvt
from unimodal.renaming import patches

__all__ = ["pvt_transformers"]


def pvt_transformers(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the class token.

    The class token's row of the last stage's position table goes into its own vector.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("pvt.")
    published.require("num_channels", config["num_channels"], 3)
    published.require("the image", isinstance(config["image_size"], int), True)
    published.require("strides", list(config["strides"]), list(config["patch_sizes"]))
    norm, depths = Part(LayerNorm, eps=config["layer_norm_eps"]), tuple(config["depths"])
    published.require("num_encoder_blocks", config["num_encoder_blocks"], len(depths))
    sizes = ("hidden_sizes", "num_attention_heads", "mlp_ratios", "sequence_reduction_ratios", "patch_sizes")
    classes = len(published.weights["classifier.weight"]) if "classifier.weight" in published.weights else None
    part = pvt(
        image=config["image_size"],
        classes=classes,
        depths=depths,
        stages=tuple(zip(*(config[name] for name in sizes), strict=True)),
        activation=activation(published, config["hidden_act"]),
        bias=config["qkv_bias"],
        norm=norm,
        reduced_norm=norm,
    )
    table = {
        **patches(at + "encoder.patch_embeddings.0.projection"),
        **affine("norm", at + "encoder.patch_embeddings.0.layer_norm"),
        **affine(f"transformer.stages.{len(depths) - 1}.core.norm", at + "encoder.layer_norm"),
        **(affine("readout.project", "classifier") if classes else {}),
    }
    for i, depth in enumerate(depths):
        embedding, stage = f"{at}encoder.patch_embeddings.{i}", f"transformer.stages.{i}"
        rows, last = f"{embedding}.position_embeddings", i == len(depths) - 1
        table[f"{stage}.position.table"] = From((rows,), lambda rows, last=last: rows[0, int(last) :])
        if last:
            fold = From((f"{embedding}.cls_token", rows), lambda token, rows: token[0] + rows[0, :1])
            table[f"{stage}.prefix.tokens"] = fold
        if i:
            table |= affine(f"transformer.between.{i - 1}.convolution", f"{embedding}.projection")
            table |= affine(f"transformer.between.{i - 1}.behind", f"{embedding}.layer_norm")
        reduced = config["sequence_reduction_ratios"][i] > 1
        for j in range(depth):
            block = f"{at}encoder.block.{i}.{j}"
            table |= _block(f"{stage}.core.blocks.{j}", block, reduced=reduced, bias=config["qkv_bias"])
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)})


def _block(ours: str, theirs: str, *, reduced: bool, bias: bool) -> dict[str, From]:
    attention, mixer = f"{theirs}.attention.self", f"{ours}.mixer.mixer" if reduced else f"{ours}.mixer"
    table = {
        **affine(f"{ours}.norm_mixer", f"{theirs}.layer_norm_1"),
        **affine(f"{mixer}.to_qkv", *(f"{attention}.{name}" for name in ("query", "key", "value")), bias=bias),
        **affine(f"{mixer}.to_out", f"{theirs}.attention.output.dense"),
        **affine(f"{ours}.norm_ffn", f"{theirs}.layer_norm_2"),
        **affine(f"{ours}.ffn.to_hidden", f"{theirs}.mlp.dense1"),
        **affine(f"{ours}.ffn.to_out", f"{theirs}.mlp.dense2"),
    }
    if reduced:
        table |= affine(f"{ours}.mixer.reduce.convolution", f"{attention}.sequence_reduction")
        table |= affine(f"{ours}.mixer.reduce.behind", f"{attention}.layer_norm")
    return table
