"""timm's PVTv2.

Source: Wang et al. 2021, arXiv:2106.13797; weights and layout: Wightman 2022, github.com/huggingface/
pytorch-image-models, models/pvt_v2.py.
"""

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.recipes.pvt_v2 import pvt_v2
from unimodal.reduced_block import reduced_block
from unimodal.renaming import patches
from unimodal.timm_architecture import timm_architecture

__all__ = ["pvt_v2_timm"]

_NAMES = {
    "norm_mixer": "norm1",
    "to_qkv": "attn.q attn.kv",
    "to_out": "attn.proj",
    "reduce": "attn.sr",
    "norm_reduced": "attn.norm",
    "norm_ffn": "norm2",
    "to_hidden": "mlp.fc1",
    "around": "mlp.dwconv",
    "from_hidden": "mlp.fc2",
}


def pvt_v2_timm(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the mean of the last map.

    The architecture's numbers come from timm itself, which builds it without memory for weights.

    Raises:
        CheckpointError: the architecture needs a part that the core does not have, or tensors do not fit.
    """
    peer = timm_architecture(published)
    published.require("pooling", peer.global_pool, "avg")
    firsts = [stage.blocks[0] for stage in peer.stages]
    linear, bias, classes = firsts[0].attn.pool is not None, firsts[0].attn.q.bias is not None, peer.num_classes or None
    reductions = [None if linear else 1 if b.attn.sr is None else b.attn.sr.stride[0] for b in firsts]
    rows = [
        (len(stage.blocks), b.attn.dim, b.attn.num_heads, b.mlp.fc1.out_features / b.attn.dim, reduction)
        for stage, b, reduction in zip(peer.stages, firsts, reductions, strict=True)
    ]
    part = pvt_v2(
        classes=classes,
        stages=tuple(rows),
        bias=bias,
        norm=Part(LayerNorm, eps=float(firsts[0].norm1.eps)),
        reduced_norm=Part(LayerNorm, eps=float(peer.patch_embed.norm.eps)),
    )
    table = {
        **patches("patch_embed.proj"),
        **affine("norm", "patch_embed.norm"),
        **(affine("readout.project", "head") if classes else {}),
    }
    for i, (depth, *_, reduction) in enumerate(rows):
        stage = f"transformer.stages.{i}"
        table |= affine(f"{stage}.norm", f"stages.{i}.norm")
        if i:
            table |= affine(f"transformer.between.{i - 1}.convolution", f"stages.{i}.downsample.proj")
            table |= affine(f"transformer.between.{i - 1}.behind", f"stages.{i}.downsample.norm")
        for j in range(depth):
            table |= reduced_block(
                f"{stage}.blocks.{j}", f"stages.{i}.blocks.{j}", _NAMES, reduction=reduction, bias=bias
            )
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)})
