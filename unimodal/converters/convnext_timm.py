"""timm's ConvNeXt and ConvNeXt V2, and the towers of CLIP and DINOv3 that have their form.

Source: Liu et al. 2022, arXiv:2201.03545; Woo et al. 2023, arXiv:2301.00808; weights and layout: Wightman 2022,
github.com/huggingface/pytorch-image-models, models/convnext.py.
"""

from typing import Any

import torch

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.ffns.hidden_norm import HiddenNorm
from unimodal.ffns.plain import Plain
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.behind import Behind
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.recipes.convnext import convnext
from unimodal.renaming import cell_map, patches
from unimodal.timm_architecture import timm_architecture

__all__ = ["convnext_timm"]

_ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "SiLU": "silu", "ReLU": "relu"}


def convnext_timm(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the pooled vector.

    The architecture's numbers come from timm itself, which builds it without memory for weights. Weights of masked
    pre-training have no norm behind the mean, and the readout is then the mean alone.

    Raises:
        CheckpointError: the architecture needs a part that the core does not have, or tensors do not fit.
    """
    peer = timm_architecture(published)
    first = peer.stages[0].blocks[0]
    published.require("the stem", [type(layer).__name__ for layer in peer.stem], ["Conv2d", "LayerNorm2d"])
    published.require("the norm", type(first.norm).__name__, "LayerNorm", "LayerNorm2d")
    published.require("the strides", [stage.downsample[1].stride[0] for stage in peer.stages[1:]], [2, 2, 2])
    published.require("conv_bias", first.conv_dw.bias is not None, True)
    responding, act = hasattr(first.mlp, "grn"), type(first.mlp.act).__name__
    published.require("the activation", act, *_ACTIVATIONS)
    norm, ffn = Part(LayerNorm, eps=float(first.norm.eps)), HiddenNorm if responding else Plain
    readout, readout_table = _readout(published, peer, norm)
    part = convnext(
        layer_scale=None if first.gamma is None else 1e-6,
        ffn=Part(ffn, activation=_ACTIVATIONS[act]),
        norm=norm,
        depths=tuple(len(stage.blocks) for stage in peer.stages),
        widths=tuple(info["num_chs"] for info in peer.feature_info),
        kernels=tuple(stage.blocks[0].conv_dw.kernel_size[0] for stage in peer.stages),
        patch=peer.stem[0].stride[0],
        readout=readout,
    )
    table = {**patches("stem.0"), **affine("norm", "stem.1"), **readout_table}
    for i, stage in enumerate(peer.stages):
        if i:
            between = f"transformer.between.{i - 1}"
            table |= affine(f"{between}.before", f"stages.{i}.downsample.0")
            table |= affine(f"{between}.convolution", f"stages.{i}.downsample.1")
        for j in range(len(stage.blocks)):
            table |= _block(i, j, responding=responding, scaled=first.gamma is not None)
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)})


def _block(i: int, j: int, *, responding: bool, scaled: bool) -> dict[str, From]:
    ours, theirs = f"transformer.stages.{i}.blocks.{j}", f"stages.{i}.blocks.{j}"
    return {
        **affine(f"{ours}.branch.0", f"{theirs}.conv_dw"),
        **affine(f"{ours}.branch.1", f"{theirs}.norm"),
        **cell_map(f"{ours}.branch.2.to_hidden", f"{theirs}.mlp.fc1"),
        **(affine(f"{ours}.branch.2.norm", f"{theirs}.mlp.grn") if responding else {}),
        **cell_map(f"{ours}.branch.2.to_out", f"{theirs}.mlp.fc2"),
        **({f"{ours}.scale": From((f"{theirs}.gamma",))} if scaled else {}),
    }


def _readout(published: Published, peer: Any, norm: Part) -> tuple[Part, dict[str, From]]:
    published.require("pooling", peer.head.global_pool.pool_type, "avg")
    mean, classes = Part(Mean), peer.num_classes or None
    if not isinstance(peer.norm_pre, torch.nn.Identity):
        readout = mean if classes is None else Part(Head, pool=mean, width=classes)
        table = affine("readout.readout.project", "head.fc") if classes else {}
        return Part(Behind, parts=(norm,), readout=readout), {**affine("readout.chain.parts.0", "norm_pre"), **table}
    if "head.norm.weight" not in published.weights and classes is None:
        return mean, {}
    table, hidden = affine("readout.norm", "head.norm"), peer.head.hidden_size
    logits = affine("readout.project", "head.fc") if classes else {}
    if not hidden:
        return Part(Head, pool=mean, norm=norm, width=classes), {**table, **logits}
    published.require("head_hidden_size", hidden, peer.num_features)
    table |= affine("readout.project", "head.pre_logits.fc")
    readout = Part(Head, pool=mean, norm=norm, width=hidden, activation="gelu")
    if classes is None:
        return readout, table
    table = {ours.replace("readout", "readout.pool", 1): origin for ours, origin in table.items()}
    return Part(Head, pool=readout, width=classes), {**table, **logits}
