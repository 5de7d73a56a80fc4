"""transformers' RoBERTa and its kin (XLM-RoBERTa, CamemBERT): the model, with a classifier, or in a sentence encoder.

Source: Liu et al. 2019, arXiv:1907.11692; layout: github.com/huggingface/transformers, models/roberta.
"""

from dataclasses import replace

from unimodal.conversion import Conversion, From, Published, affine
from unimodal.part import Part
from unimodal.peer_settings import activation
from unimodal.readouts.first_token import FirstToken
from unimodal.readouts.head import Head
from unimodal.recipes.post_norm import post_norm
from unimodal.word_encoder import sentence_readout, word_encoder

__all__ = ["roberta_transformers"]


def roberta_transformers(published: Published) -> Conversion:
    """One text tower; its readout is the sentence encoder's, else the classifier, the pooler or the first token.

    Positions are counted from the filling's id + 1, so the rows of the table before that are set aside.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config = published.config
    at = published.under(f"{config['model_type'].replace('-', '_')}.") or published.under("roberta.")
    core = post_norm(
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        activation=activation(published, config["hidden_act"]),
        eps=config["layer_norm_eps"],
    )
    tower = word_encoder(published, at, core=core, offset=config["pad_token_id"] + 1)
    aside = {at + "embeddings.position_ids": "0, 1, 2 ..."}
    aside |= {name: "the head of pre-training" for name in published.weights if name.startswith("lm_head.")}
    readout, table = sentence_readout(published), {}
    if readout is not None:
        why = "the sentence encoder pools by itself"
        aside |= {f"{at}pooler.dense.{kind}": why for kind in ("weight", "bias")}
    else:
        readout, table = _pooled(published, at)
    part = tower.part.replace(readout=readout)
    return Conversion({"text": replace(tower, part=part, table={**tower.table, **table})}, aside)


def _pooled(published: Published, at: str) -> tuple[Part, dict[str, From]]:
    first, width, weights = Part(FirstToken), published.config["hidden_size"], published.weights
    if "classifier.out_proj.weight" in weights:
        hidden = Part(Head, pool=first, width=width, activation="tanh")
        return Part(Head, pool=hidden, width=len(weights["classifier.out_proj.weight"])), {
            **affine("readout.pool.project", "classifier.dense"),
            **affine("readout.project", "classifier.out_proj"),
        }
    if f"{at}pooler.dense.weight" in weights:
        return Part(Head, pool=first, width=width, activation="tanh"), affine("readout.project", at + "pooler.dense")
    return first, {}
