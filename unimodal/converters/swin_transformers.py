"""transformers' Swin: the model with its pooled vector, and with a classifier.

Source: Liu et al. 2021, arXiv:2103.14030; weights and layout: Wolf et al. 2019, arXiv:1910.03771, github.com/
huggingface/transformers, models/swin.
"""

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.mixers.shifted_windows import ShiftedWindows
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.recipes.swin import swin
from unimodal.stems.filled import FilledStem
from unimodal.stems.patch import PatchStem

__all__ = ["swin_transformers"]


def swin_transformers(published: Published, *, unshifted: str = "either") -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the pooled vector.

    Pictures of any size go through: the peer fills up their last patches with zeros. Its layers have no form for
    lattices smaller than a window, which are filled up here; and once one of them has seen a lattice as small as its
    window, it shifts no more, while ours forget.

    Args:
        published: The model as it was read.
        unshifted: Which lattices stay as they are (:class:`~unimodal.mixers.shifted_windows.ShiftedWindows`); as the
            backbone of another network the peer leaves none.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("swin.")
    published.require("num_channels", config["num_channels"], 3)
    published.require("the patch", isinstance(config["patch_size"], int), True)
    published.require("use_absolute_embeddings", config["use_absolute_embeddings"], False)
    published.require("layer_norm_eps", config["layer_norm_eps"], 1e-5)  # of some norms; others have it always
    classes = len(published.weights["classifier.weight"]) if "classifier.weight" in published.weights else None
    depths, bias = tuple(config["depths"]), config["qkv_bias"]
    window = config["window_size"]
    cut = Part(ShiftedWindows, window=window, shift=window // 2, unshifted=unshifted)
    part = swin(
        classes=classes,
        windows=(cut,) * len(depths),
        width=config["embed_dim"],
        depths=depths,
        heads=tuple(config["num_heads"]),
        ratio=config["mlp_ratio"],
        qkv_bias=bias,
        activation=activation(published, config["hidden_act"]),
        stem=Part(FilledStem, stem=Part(PatchStem, patch=config["patch_size"])),
    )
    table = {
        **affine("tokenizers.image.stem.stem.project", at + "embeddings.patch_embeddings.projection"),
        **affine("norm", at + "embeddings.norm"),
        **affine("readout.chain.parts.0", at + "layernorm"),
        **(affine("readout.readout.project", "classifier") if classes else {}),
    }
    for i, depth in enumerate(depths):
        stage = f"{at}encoder.layers.{i}"
        for j in range(depth):
            table |= _block(f"transformer.stages.{i}.blocks.{j}", f"{stage}.blocks.{j}", bias)
        if i < len(depths) - 1:
            table |= affine(f"transformer.between.{i}.norm", f"{stage}.downsample.norm")
            table |= affine(f"transformer.between.{i}.reduction", f"{stage}.downsample.reduction", bias=False)
    aside = {name: "follows from the window" for name in published.weights if name.endswith("relative_position_index")}
    if (token := at + "embeddings.mask_token") in published.weights:
        aside[token] = "stands for hidden patches in pre-training only"
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)}, aside)


def _block(ours: str, theirs: str, bias: bool) -> dict[str, From]:
    inner = theirs + ".attention.self."
    projections = (inner + name for name in ("query", "key", "value"))
    return {
        **affine(f"{ours}.norm_mixer", f"{theirs}.layernorm_before"),
        **affine(f"{ours}.mixer.mixer.to_qkv", *projections, bias=bias),
        f"{ours}.mixer.mixer.attention.table": From((inner + "relative_position_bias_table",)),
        **affine(f"{ours}.mixer.mixer.to_out", f"{theirs}.attention.output.dense"),
        **affine(f"{ours}.norm_ffn", f"{theirs}.layernorm_after"),
        **affine(f"{ours}.ffn.to_hidden", f"{theirs}.intermediate.dense"),
        **affine(f"{ours}.ffn.to_out", f"{theirs}.output.dense"),
    }
