"""transformers' RoBERTa and its kin (XLM-RoBERTa, CamemBERT): the model, with a classifier, or in a sentence encoder.

Source: Liu et al. 2019, arXiv:1907.11692; layout: github.com/huggingface/transformers, models/roberta.
"""

from unimodal.conversion import Conversion, From, Published, affine
from unimodal.part import Part
from unimodal.peer_layers import core_of
from unimodal.readouts.first_token import FirstToken
from unimodal.readouts.head import Head
from unimodal.recipes.post_norm import post_norm
from unimodal.word_encoder import word_encoder

__all__ = ["roberta_transformers"]


def roberta_transformers(published: Published) -> Conversion:
    """One text tower; its readout is the sentence encoder's, else the classifier, the pooler or the first token.

    Positions are counted from the filling's id + 1, so the rows of the table before that are set aside.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config = published.config
    at = published.under(f"{config['model_type'].replace('-', '_')}.") or published.under("roberta.")
    core = core_of(post_norm, published, config)
    aside = {"lm_head.": "the head of pre-training"}
    return word_encoder(
        published, at, core=core, readout=_pooled(published, at), aside=aside, offset=config["pad_token_id"] + 1
    )


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
