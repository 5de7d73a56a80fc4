"""Point-MAE's transformer: the classifier that is fine-tuned from it, and the encoder of a pre-training checkpoint.

Source: Pang et al. 2022, arXiv:2203.06604, sec. 3 and 4.1; weights and layout: github.com/Pang-Yatian/Point-MAE,
models/Point_MAE.py (PointTransformer, Point_MAE). Point-BERT's classifier (Yu et al. 2021, arXiv:2111.14819) differs.
"""

from typing import Any

from unimodal.catalog import catalog
from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.errors import CheckpointError
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.coordinate_mlp import CoordinateMLP
from unimodal.readouts.class_and_max import ClassAndMax
from unimodal.readouts.mean import Mean
from unimodal.readouts.perceptron import Perceptron
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks
from unimodal.repositioned import Repositioned

__all__ = ["point_transformer_point_mae"]

_ASIDE = {
    "mask_token": "stands for hidden groups in pre-training only",
    "decoder_pos_embed": "belongs to the decoder of pre-training",
    "MAE_decoder": "the decoder of pre-training",
    "increase_dim": "draws the hidden points in pre-training",
}


def point_transformer_point_mae(published: Published) -> Conversion:
    """One tower for point clouds. A classifier's readout gives logits, an encoder's the mean of its tokens.

    The class token's position is a vector that every block adds, so it is kept (see
    :class:`unimodal.repositioned.Repositioned`). The pre-training encoder has neither: fine-tuning adds them.

    Raises:
        CheckpointError: a setting is missing or needs a part that the core does not have, or tensors do not fit.
    """
    classifier = published.config["NAME"] == "PointTransformer"
    config = {**published.config, **published.config.get("transformer_config", {})}
    at = "" if classifier else published.under("MAE_encoder.")
    dim, depth, heads = (_number(published, config, key) for key in ("trans_dim", "depth", "num_heads"))
    groups, neighbours = (_number(published, config, key) for key in ("num_group", "group_size"))
    published.require("encoder_dims", config.get("encoder_dims", dim), dim)
    table = {
        **_encoder(at + "encoder."),
        **affine("transformer.position.to_hidden", at + "pos_embed.0"),
        **affine("transformer.position.to_out", at + "pos_embed.2"),
        **_within_core(
            blocks(
                depth,
                {
                    "norm_mixer": at + "blocks.blocks.{}.norm1",
                    "mixer.to_qkv": at + "blocks.blocks.{}.attn.qkv",
                    "mixer.to_out": at + "blocks.blocks.{}.attn.proj",
                    "norm_ffn": at + "blocks.blocks.{}.norm2",
                    "ffn.to_hidden": at + "blocks.blocks.{}.mlp.fc1",
                    "ffn.to_out": at + "blocks.blocks.{}.mlp.fc2",
                },
                qkv_bias=False,
            )
        ),
        **affine("transformer.core.norm", at + "norm"),
    }
    readout = Part(Mean)
    if classifier:
        table |= {"prefix.tokens": _rows("cls_token"), "transformer.prefix": _rows("cls_pos")}
        table |= {**affine("readout.maps.0", "cls_head_finetune.0"), **_norm("readout.norms.0", "cls_head_finetune.1")}
        table |= {**affine("readout.maps.1", "cls_head_finetune.4"), **_norm("readout.norms.1", "cls_head_finetune.5")}
        table |= affine("readout.project", "cls_head_finetune.8")
        readout = Part(Perceptron, pool=Part(ClassAndMax), width=_number(published, config, "cls_dim"))
    core = pre_norm(depth=depth, heads=heads, hidden=4 * dim, eps=1e-5, qkv_bias=False)
    tokenizer = Part(
        catalog("tokenizers")["point_cloud"],
        points=config.get("npoints") or 16 * groups,
        groups=groups,
        neighbours=neighbours,
        widths=(128, 256, 512),
    )
    part = Part(
        Model,
        dim=dim,
        tokenizers={"point_cloud": tokenizer},
        prefix=int(classifier),
        transformer=Part(Repositioned, core=core, position=Part(CoordinateMLP), prefix=int(classifier)),
        readout=readout,
    )
    aside = {n: why for n in published.weights for start, why in _ASIDE.items() if n.split(".")[0] == start}
    return Conversion({"point_cloud": Tower(part, table)}, {} if classifier else aside)


def _number(published: Published, config: dict[str, Any], key: str) -> int:
    if not isinstance(config.get(key), int):
        raise CheckpointError(published.source, f"config.json has no number {key!r}")
    return config[key]


def _encoder(at: str) -> dict[str, From]:
    """Convolutions over one point at a time are linear maps."""
    ours = "tokenizers.point_cloud.encoder."
    maps = {"lift": "first_conv.0", "to_local": "first_conv.3", "join": "second_conv.0", "to_out": "second_conv.3"}
    table: dict[str, From] = {}
    for name, theirs in maps.items():
        table[f"{ours}{name}.weight"] = From((f"{at}{theirs}.weight",), lambda kernel: kernel.flatten(1))
        table[f"{ours}{name}.bias"] = From((f"{at}{theirs}.bias",))
    return {
        **table,
        **_norm(ours + "norm_lift", at + "first_conv.1"),
        **_norm(ours + "norm_join", at + "second_conv.1"),
    }


def _norm(ours: str, theirs: str) -> dict[str, From]:
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{ours}.{kind}": From((f"{theirs}.{kind}",)) for kind in kinds}


def _rows(name: str) -> From:
    return From((name,), lambda tensor: tensor.reshape(-1, tensor.shape[-1]))


def _within_core(table: dict[str, From]) -> dict[str, From]:
    return {name.replace("transformer.", "transformer.core.", 1): origin for name, origin in table.items()}
