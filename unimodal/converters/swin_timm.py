"""timm's Swin and the S3 networks that were searched for in its space.

Source: Liu et al. 2021, arXiv:2103.14030; Chen et al. 2021, arXiv:2111.14725; weights and layout: Wightman 2021,
github.com/huggingface/pytorch-image-models, models/swin_transformer.py.
"""

from typing import Any

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.mixers.shifted_windows import ShiftedWindows
from unimodal.part import Part
from unimodal.recipes.swin import swin
from unimodal.renaming import patches
from unimodal.stems.patch import PatchStem
from unimodal.timm_architecture import timm_architecture

__all__ = ["swin_timm"]

_BLOCK = {
    "norm_mixer": "norm1",
    "mixer.mixer.to_qkv": "attn.qkv",
    "mixer.mixer.to_out": "attn.proj",
    "norm_ffn": "norm2",
    "ffn.to_hidden": "mlp.fc1",
    "ffn.to_out": "mlp.fc2",
}
_ASIDE = {
    "relative_position_index": "follows from the window",
    "attn_mask": "follows from the lattice and the window",
}


def swin_timm(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the pooled vector.

    The architecture's numbers come from timm itself, which builds it without memory for weights. timm settles windows
    and shifts for one size of picture; as with its ``dynamic_img_size``, they stay the same for others. Weights of the
    paper's authors have what lies between two stages with the first of them, timm has it with the second; both are
    read.

    Raises:
        CheckpointError: the architecture needs a part that the core does not have, or tensors do not fit.
    """
    peer = timm_architecture(published)
    stages = [list(stage.blocks) for stage in peer.layers]
    first = stages[0][0]
    published.require("pooling", peer.global_pool, "avg")
    published.require("the norm", type(first.norm1).__name__, "LayerNorm")
    published.require("the patch", peer.patch_embed.patch_size[0], peer.patch_embed.patch_size[1])
    widths = [peer.embed_dim * 2**i for i in range(len(stages))]
    published.require("the widths", [info["num_chs"] for info in peer.feature_info], widths)
    ratios = {blocks[0].mlp.fc1.out_features / width for width, blocks in zip(widths, stages, strict=True)}
    published.require("the hidden widths over the widths", sorted(ratios), [max(ratios)])
    for width, blocks in zip(widths, stages, strict=True):
        published.require("the head width", blocks[0].attn.qkv.out_features, 3 * width)
    bias = first.attn.qkv.bias is not None
    part = swin(
        classes=peer.num_classes or None,
        width=peer.embed_dim,
        depths=tuple(len(blocks) for blocks in stages),
        heads=tuple(blocks[0].attn.num_heads for blocks in stages),
        ratio=max(ratios),
        qkv_bias=bias,
        eps=float(first.norm1.eps),
        stem=Part(PatchStem, patch=peer.patch_embed.patch_size[0]),
        windows=tuple(_windows(blocks) for blocks in stages),
    )
    early = int("layers.0.downsample.reduction.weight" in published.weights)
    head = "head.fc" if "head.fc.weight" in published.weights else "head"
    table = {
        **patches("patch_embed.proj"),
        **affine("norm", "patch_embed.norm"),
        **affine("readout.chain.parts.0", "norm"),
        **(affine("readout.readout.project", head) if peer.num_classes else {}),
    }
    for i, blocks in enumerate(stages):
        for j in range(len(blocks)):
            table |= _block(f"transformer.stages.{i}.blocks.{j}.", f"layers.{i}.blocks.{j}.", bias)
        if i:
            ours, theirs = f"transformer.between.{i - 1}.", f"layers.{i - early}.downsample."
            table |= affine(ours + "norm", theirs + "norm")
            table |= affine(ours + "reduction", theirs + "reduction", bias=False)
    aside = {name: why for name in published.weights for end, why in _ASIDE.items() if name.endswith(end)}
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)}, aside)


def _windows(blocks: list[Any]) -> Part:
    """All blocks of a stage have one window; every second one is shifted, or none."""
    shift = tuple(blocks[1].shift_size) if len(blocks) > 1 else 0
    return Part(ShiftedWindows, window=tuple(blocks[0].window_size), shift=shift, unshifted="never", edge="turned")


def _block(ours: str, theirs: str, bias: bool) -> dict[str, From]:
    table = {f"{ours}mixer.mixer.attention.table": From((f"{theirs}attn.relative_position_bias_table",))}
    for name, other in _BLOCK.items():
        table |= affine(ours + name, theirs + other, bias=bias or name != "mixer.mixer.to_qkv")
    return table
