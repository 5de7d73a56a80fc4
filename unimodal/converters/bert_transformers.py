"""transformers' BERT: the model with its pooler, without it, with a classifier, or inside a sentence encoder (MiniLM).

Source: Devlin et al. 2018, arXiv:1810.04805; Wang et al. 2020, arXiv:2002.10957 (MiniLM, the same architecture);
layout: github.com/huggingface/transformers, models/bert.
"""

from dataclasses import replace

from unimodal.conversion import Conversion, From, Published, affine
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.readouts.first_token import FirstToken
from unimodal.readouts.head import Head
from unimodal.recipes.post_norm import post_norm
from unimodal.word_encoder import sentence_readout, word_encoder

__all__ = ["bert_transformers"]


def bert_transformers(published: Published) -> Conversion:
    """One text tower; its readout is the sentence encoder's, else the classifier, the pooler or the first token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("bert.")
    core = post_norm(
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        activation=activation(published, config["hidden_act"]),
        eps=config["layer_norm_eps"],
    )
    tower = word_encoder(published, at, core=core)
    aside = {at + "embeddings.position_ids": "0, 1, 2 ..."}
    aside |= {name: "the heads of pre-training" for name in published.weights if name.startswith("cls.")}
    readout, table = sentence_readout(published), {}
    if readout is not None:
        why = "the sentence encoder pools by itself"
        aside |= {f"{at}pooler.dense.{kind}": why for kind in ("weight", "bias")}
    else:
        readout, table = _pooled(published, at)
    part = tower.part.replace(readout=readout)
    return Conversion({"text": replace(tower, part=part, table={**tower.table, **table})}, aside)


def _pooled(published: Published, at: str) -> tuple[Part, dict[str, From]]:
    first, weights = Part(FirstToken), published.weights
    if f"{at}pooler.dense.weight" not in weights:
        return first, {}
    pooler = Part(Head, pool=first, width=published.config["hidden_size"], activation="tanh")
    if "classifier.weight" not in weights:
        return pooler, affine("readout.project", at + "pooler.dense")
    logits = Part(Head, pool=pooler, width=len(weights["classifier.weight"]))
    return logits, {
        **affine("readout.pool.project", at + "pooler.dense"),
        **affine("readout.project", "classifier"),
    }
