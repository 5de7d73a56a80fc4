"""transformers' ConvNeXt and ConvNeXt V2: the model with its pooled vector, and with a classifier.

Source: Liu et al. 2022, arXiv:2201.03545; Woo et al. 2023, arXiv:2301.00808; weights and layout: Wolf et al. 2019,
arXiv:1910.03771, github.com/huggingface/transformers, models/convnext and models/convnextv2.
"""

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.ffns.hidden_norm import HiddenNorm
from unimodal.ffns.plain import Plain
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.recipes.convnext import convnext
from unimodal.renaming import patches

__all__ = ["convnext_transformers"]


def convnext_transformers(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the pooled vector.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("convnext.") or published.under("convnextv2.")
    published.require("num_channels", config["num_channels"], 3)
    published.require("the patch", isinstance(config["patch_size"], int), True)
    responding = config["model_type"] == "convnextv2"
    scaled = not responding and config["layer_scale_init_value"] > 0
    classes = len(published.weights["classifier.weight"]) if "classifier.weight" in published.weights else None
    ffn = Part(HiddenNorm if responding else Plain, activation=activation(published, config["hidden_act"]))
    part = convnext(
        layer_scale=1e-6 if scaled else None,
        ffn=ffn,
        depths=tuple(config["depths"]),
        widths=tuple(config["hidden_sizes"]),
        kernels=(7,) * len(config["depths"]),
        patch=config["patch_size"],
        readout=Part(Head, pool=Part(Mean), norm=Part(LayerNorm, eps=config["layer_norm_eps"]), width=classes),
    )
    table = {
        **patches(at + "embeddings.patch_embeddings"),
        **affine("norm", at + "embeddings.layernorm"),
        **affine("readout.norm", at + "layernorm"),
        **(affine("readout.project", "classifier") if classes else {}),
    }
    for i, depth in enumerate(config["depths"]):
        stage = f"{at}encoder.stages.{i}"
        if i:
            between = f"transformer.between.{i - 1}"
            table |= affine(f"{between}.before", f"{stage}.downsampling_layer.0")
            table |= affine(f"{between}.convolution", f"{stage}.downsampling_layer.1")
        for j in range(depth):
            block = f"transformer.stages.{i}.blocks.{j}"
            table |= _block(block, f"{stage}.layers.{j}", responding=responding, scaled=scaled)
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)})


def _block(ours: str, theirs: str, *, responding: bool, scaled: bool) -> dict[str, From]:
    flat = {
        f"{ours}.branch.2.norm.{name}": From((f"{theirs}.grn.{name}",), lambda tensor: tensor.flatten())
        for name in ("weight", "bias")
    }
    return {
        **affine(f"{ours}.branch.0", f"{theirs}.dwconv"),
        **affine(f"{ours}.branch.1", f"{theirs}.layernorm"),
        **affine(f"{ours}.branch.2.to_hidden", f"{theirs}.pwconv1"),
        **(flat if responding else {}),
        **affine(f"{ours}.branch.2.to_out", f"{theirs}.pwconv2"),
        **({f"{ours}.scale": From((f"{theirs}.layer_scale_parameter",))} if scaled else {}),
    }
