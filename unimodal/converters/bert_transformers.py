"""transformers' BERT: the model with its pooler, without it, with a classifier, or inside a sentence encoder (MiniLM).

Source: Devlin et al. 2018, arXiv:1810.04805; Wang et al. 2020, arXiv:2002.10957 (MiniLM, the same architecture);
layout: github.com/huggingface/transformers, models/bert.
"""

from unimodal.conversion import Conversion, From, Published, affine
from unimodal.part import Part
from unimodal.peer_layers import core_of
from unimodal.readouts.first_token import FirstToken
from unimodal.readouts.head import Head
from unimodal.recipes.post_norm import post_norm
from unimodal.word_encoder import word_encoder

__all__ = ["bert_transformers"]


def bert_transformers(published: Published) -> Conversion:
    """One text tower; its readout is the sentence encoder's, else the classifier, the pooler or the first token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("bert.")
    core = core_of(post_norm, published, config)
    aside = {"cls.": "the heads of pre-training"}
    return word_encoder(published, at, core=core, readout=_pooled(published, at), aside=aside)


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
