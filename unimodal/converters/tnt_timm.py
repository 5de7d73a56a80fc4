"""timm's TNT: sentences of 16 px with their words of 4 px.

Source: Han et al. 2021, arXiv:2103.00112; weights and layout: Wightman 2019, github.com/huggingface/
pytorch-image-models, models/tnt.py.
"""

import torch.nn.functional as F
from torch import Tensor

from unimodal.conversion import Conversion, From, Published, Tower, affine, stacked
from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.mean import Mean
from unimodal.recipes.tnt import tnt
from unimodal.renaming import lattice_rows
from unimodal.timm_architecture import timm_architecture

__all__ = ["tnt_timm"]


def tnt_timm(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the pooled sentence.

    The architecture's numbers come from timm itself, which builds it without memory for weights.

    Raises:
        CheckpointError: the architecture needs a part that the core does not have, or tensors do not fit.
    """
    peer = timm_architecture(published)
    block, stem = peer.blocks[0], peer.pixel_embed
    published.require("legacy", bool(block.legacy), False)
    published.require("pooling", peer.global_pool, "token", "avg", "")
    published.require("the patch", stem.patch_size[0], stem.patch_size[1])
    published.require("the image", stem.img_size[0], stem.img_size[1])
    width, inner, bias = peer.embed_dim, stem.in_dim, block.attn_out.qk.bias is not None
    pool = {"token": Part(ClassToken), "avg": Part(Mean), "": None}[peer.global_pool]
    classes = peer.num_classes or None
    part = tnt(
        image=stem.img_size[0],
        classes=classes,
        widths=(width, inner),
        heads=(block.attn_out.num_heads, block.attn_in.num_heads),
        depth=len(peer.blocks),
        patch=stem.patch_size[0],
        stride=stem.proj.stride[0],
        ratio=block.mlp.fc1.out_features / width,
        qkv_bias=bias,
        readout=pool,
    )
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    room = stem.new_patch_size[0] * stem.new_patch_size[1] * inner
    table = {
        **affine("tokenizers.image.stem.to_words", "pixel_embed.proj"),
        "tokenizers.image.stem.position.table": From(("pixel_pos",), lambda position: position[0].flatten(1).T),
        **affine("tokenizers.image.stem.norm_words", "norm1_proj"),
        **affine("tokenizers.image.stem.to_sentence", "proj"),
        **affine("tokenizers.image.stem.norm_sentence", "norm2_proj"),
        "positions.image.position.table": lattice_rows("patch_pos", 1)["positions.image.table"],
        "prefix.tokens": From(("cls_token", "patch_pos"), lambda token, rows: _class_row(token, rows, room)),
        **{ours: origin for i in range(len(peer.blocks)) for ours, origin in _block(i, bias).items()},
        **affine("transformer.norm.norm", "norm"),
        **(affine("readout.readout.project", "head") if classes else {}),
    }
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)})


def _class_row(token: Tensor, rows: Tensor, room: int) -> Tensor:
    """The class token with its own position added and zeros where a patch has its words."""
    return F.pad(token[0] + rows[0, :1], (0, room))


def _block(i: int, bias: bool) -> dict[str, From]:
    ours, theirs = f"transformer.blocks.{i}.", f"blocks.{i}."
    table = {
        **affine(ours + "norm_words", theirs + "norm1_proj"),
        **affine(ours + "to_sentence", theirs + "proj", bias=False),
        **affine(ours + "norm_told", theirs + "norm2_proj"),
    }
    for level, tail, mlp in (("inner", "in", "mlp_in"), ("outer", "out", "mlp")):
        attention = f"{theirs}attn_{tail}."
        table |= {
            **affine(f"{ours}{level}.norm_mixer", f"{theirs}norm_{tail}"),
            f"{ours}{level}.mixer.to_qkv.weight": stacked(attention + "qk.weight", attention + "v.weight"),
            **affine(f"{ours}{level}.mixer.to_out", attention + "proj"),
            **affine(f"{ours}{level}.norm_ffn", f"{theirs}norm_{mlp}"),
            **affine(f"{ours}{level}.ffn.to_hidden", f"{theirs}{mlp}.fc1"),
            **affine(f"{ours}{level}.ffn.to_out", f"{theirs}{mlp}.fc2"),
        }
        if bias:
            table[f"{ours}{level}.mixer.to_qkv.bias"] = stacked(attention + "qk.bias", attention + "v.bias")
    return table
