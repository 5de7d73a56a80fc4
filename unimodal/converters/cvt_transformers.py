"""transformers' CvT: the model with its class token, and with a norm and a classifier.

Source: Wu et al. 2021, arXiv:2103.15808; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/cvt.
"""

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.recipes.cvt import cvt
from unimodal.renaming import patches

__all__ = ["cvt_transformers"]


def cvt_transformers(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the class token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("cvt.")
    depths = config["depth"]
    ahead = [1] * (len(depths) - 1)
    known = {"patch_sizes": [7, *(3 for _ in ahead)], "patch_stride": [4, *(2 for _ in ahead)]}
    known |= {"patch_padding": [2, *ahead], "cls_token": [*(False for _ in ahead), True]}
    known |= {
        "qkv_projection_method": ["dw_bn"] * len(depths),
        "stride_q": [1, *ahead],
        "kernel_qkv": [3] * len(depths),
    }
    known |= {"padding_q": [1, *ahead], "padding_kv": [1, *ahead]}
    published.require("num_channels", config["num_channels"], 3)
    for name, wanted in known.items():
        published.require(name, list(config[name]), wanted)
    for name in ("mlp_ratio", "stride_kv", "qkv_bias"):
        published.require(name, list(config[name]), [config[name][0]] * len(depths))
    bias = config["qkv_bias"][0]
    normed = "layernorm.weight" in published.weights
    classes = len(published.weights["classifier.weight"]) if "classifier.weight" in published.weights else None
    part = cvt(
        classes=classes,
        stages=tuple(zip(depths, config["embed_dim"], config["num_heads"], strict=True)),
        ratio=config["mlp_ratio"][0],
        key_stride=config["stride_kv"][0],
        bias=bias,
        readout=None if normed else Part(Head, pool=Part(ClassToken)),
    )
    stage = at + "encoder.stages.{}.embedding.convolution_embeddings."
    last = f"{at}encoder.stages.{len(depths) - 1}"
    table = {
        **patches(stage.format(0) + "projection"),
        **affine("norm", stage.format(0) + "normalization"),
        f"transformer.stages.{len(depths) - 1}.prefix.tokens": From((f"{last}.cls_token",), lambda token: token[0]),
        **(affine("readout.norm", "layernorm") if normed else {}),
        **(affine("readout.project", "classifier") if classes else {}),
    }
    for i, depth in enumerate(depths):
        if i:
            table |= affine(f"transformer.between.{i - 1}.convolution", stage.format(i) + "projection")
            table |= affine(f"transformer.between.{i - 1}.behind", stage.format(i) + "normalization")
        core = f"transformer.stages.{i}" + (".core" if i == len(depths) - 1 else "")
        for j in range(depth):
            table |= _block(f"{core}.blocks.{j}", f"{at}encoder.stages.{i}.layers.{j}", bias=bias)
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    counters = [name for name in published.weights if name.endswith("num_batches_tracked")]
    aside = dict.fromkeys(counters, "batches seen; the averages have one momentum throughout")
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)}, aside)


def _block(ours: str, theirs: str, *, bias: bool) -> dict[str, From]:
    attention, table = f"{theirs}.attention.attention", {}
    for short, name in (("q", "query"), ("k", "key"), ("v", "value")):
        around, theirs_around = f"{ours}.mixer.around_{short}", f"{attention}.convolution_projection_{name}"
        convolution, norm = ("parts.0", "parts.1") if short == "q" else ("convolution", "behind")
        own = f"{theirs_around}.convolution_projection"
        table |= affine(f"{around}.{convolution}", f"{own}.convolution", bias=False)
        table |= affine(f"{around}.{norm}", f"{own}.normalization")
        for statistic in ("running_mean", "running_var"):
            table[f"{around}.{norm}.{statistic}"] = From((f"{own}.normalization.{statistic}",))
        table |= affine(f"{ours}.mixer.to_{short}", f"{attention}.projection_{name}", bias=bias)
    return {
        **table,
        **affine(f"{ours}.mixer.to_out", f"{theirs}.attention.output.dense"),
        **affine(f"{ours}.norm_mixer", f"{theirs}.layernorm_before"),
        **affine(f"{ours}.norm_ffn", f"{theirs}.layernorm_after"),
        **affine(f"{ours}.ffn.to_hidden", f"{theirs}.intermediate.dense"),
        **affine(f"{ours}.ffn.to_out", f"{theirs}.output.dense"),
    }
