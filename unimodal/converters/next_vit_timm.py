"""timm's Next-ViT.

Source: Li et al. 2022, arXiv:2207.05501; weights and layout: Wightman 2022, github.com/huggingface/
pytorch-image-models, models/nextvit.py.
"""

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.recipes.next_vit import next_vit
from unimodal.renaming import cell_map
from unimodal.timm_architecture import timm_architecture

__all__ = ["next_vit_timm"]

_ACTIVATIONS = {"GELU": "gelu", "ReLU": "relu", "SiLU": "silu"}


def next_vit_timm(published: Published) -> Conversion:
    """One image tower; its readout gives the logits if the weights have a classifier, else the normed mean.

    The architecture's numbers come from timm itself, which builds it without memory for weights. How many batches a
    norm has seen is set aside: it says nothing of what the norm does.

    Raises:
        CheckpointError: the architecture needs a part that the core does not have, or tensors do not fit.
    """
    peer = timm_architecture(published)
    first, ends = peer.stages[0].blocks[0], [stage.blocks[-1] for stage in peer.stages[1:]]
    act = type(first.mhca.act).__name__
    published.require("the activation", act, *_ACTIVATIONS)
    published.require("the norm", type(peer.norm).__name__, "BatchNorm2d")
    published.require("head_dim", first.out_chs // first.mhca.group_conv3x3.groups, 32)
    published.require("mix_block_ratio", ends[0].mix_block_ratio, 0.75)
    published.require("the strides", [stage.blocks[0].patch_embed.pool.stride for stage in peer.stages[1:]], [2, 2, 2])
    published.require("pooling", peer.head.global_pool.pool_type, "avg")
    classes = peer.num_classes or None
    part = next_vit(
        classes=classes,
        depths=tuple(len(stage.blocks) for stage in peer.stages),
        reductions=tuple(end.e_mhsa.sr_ratio for end in ends),
        stem=tuple(layer.conv.out_channels for layer in peer.stem[:3]),
        activation=_ACTIVATIONS[act],
        norm=Part(BatchNorm, eps=float(peer.norm.eps)),
    )
    table = {
        **_norm("readout.chain.parts.0", "norm"),
        **(affine("readout.readout.project", "head.fc") if classes else {}),
    }
    for i in range(4):
        table |= affine(f"tokenizers.image.stem.convolutions.{i}", f"stem.{i}.conv", bias=False)
        table |= _norm(f"tokenizers.image.stem.norms.{i}", f"stem.{i}.norm")
    for i, stage in enumerate(peer.stages):
        for j, block in enumerate(stage.blocks):
            ours, theirs = f"transformer.stages.{i}.blocks.{j}.parts", f"stages.{i}.blocks.{j}"
            at, embedded = 0, hasattr(block.patch_embed.conv, "weight")
            if i and not j:
                table |= _embedding(f"transformer.between.{i - 1}.behind.parts", f"{theirs}.patch_embed")
            elif embedded:
                table |= _embedding(ours, f"{theirs}.patch_embed")
                at = 2
            if hasattr(block, "e_mhsa"):
                table |= _attending(ours, theirs, at, pooled=block.e_mhsa.sr_ratio > 1)
            else:
                table |= _mixing(f"{ours}.{at}.branch", f"{theirs}.mhca")
                table |= _fed(f"{ours}.{at + 1}.branch", theirs, "norm")
    aside = {name: "how many batches a norm has seen" for name in published.weights if name.endswith("_tracked")}
    image = part.kwargs["tokenizers"]["image"].replace(**published.pictures)
    return Conversion({"image": Tower(part.replace(tokenizers={"image": image}), table)}, aside)


def _norm(ours: str, theirs: str) -> dict[str, From]:
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{ours}.{kind}": From((f"{theirs}.{kind}",)) for kind in kinds}


def _embedding(ours: str, theirs: str) -> dict[str, From]:
    return {**cell_map(f"{ours}.0.project", f"{theirs}.conv", bias=False), **_norm(f"{ours}.1", f"{theirs}.norm")}


def _mixing(ours: str, theirs: str) -> dict[str, From]:
    return {
        **affine(f"{ours}.0", f"{theirs}.group_conv3x3", bias=False),
        **_norm(f"{ours}.1", f"{theirs}.norm"),
        **cell_map(f"{ours}.3.project", f"{theirs}.projection", bias=False),
    }


def _fed(ours: str, theirs: str, norm: str) -> dict[str, From]:
    return {
        **_norm(f"{ours}.0", f"{theirs}.{norm}"),
        **cell_map(f"{ours}.1.to_hidden", f"{theirs}.mlp.fc1"),
        **cell_map(f"{ours}.1.to_out", f"{theirs}.mlp.fc2"),
    }


def _attending(ours: str, theirs: str, at: int, *, pooled: bool) -> dict[str, From]:
    block = f"{ours}.{at}.branch"
    full, peer, local = (
        f"{block}.1.mixer" if pooled else f"{block}.1",
        f"{theirs}.e_mhsa",
        f"{ours}.{at + 1}.part.parts",
    )
    return {
        **_norm(f"{block}.0", f"{theirs}.norm1"),
        **affine(f"{full}.to_qkv", f"{peer}.q", f"{peer}.k", f"{peer}.v"),
        **affine(f"{full}.to_out", f"{peer}.proj"),
        **(_norm(f"{block}.1.reduce.behind", f"{peer}.norm") if pooled else {}),
        **_embedding(local, f"{theirs}.projection"),
        **_mixing(f"{local}.2.branch", f"{theirs}.mhca"),
        **_fed(f"{ours}.{at + 2}.branch", theirs, "norm2"),
    }
