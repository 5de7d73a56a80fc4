"""iTransformer: columns of a series as tokens, post-norm blocks over them, no positions.

Source: Liu et al. 2023, arXiv:2310.06625, fig. 2 and appendix A.2; sizes and dropout from its code (scripts/
multivariate_forecasting): ETTh1 256/256/2 up to 192 steps and 512/512/2 beyond, ETTh2 128/128/2, Weather 512/512/3,
Traffic 512/512/4 (width / hidden width / depth).

Parameters with a linear map from the width to the S steps of the forecast:

    ETTh1, S = 96: 841,568    Weather, S = 96: 4,833,888    Traffic, S = 96: 6,411,872
"""

from unimodal.attention.dropout import DropoutAttention
from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.ffns.dropout import DropoutFFN
from unimodal.mixers.dropout import DropoutMixer
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.transformer import Transformer

__all__ = ["itransformer"]


def itransformer(
    *,
    dim: int = 256,
    depth: int = 2,
    heads: int = 8,
    hidden: int | None = None,
    lookback: int = 96,
    stamps: bool = True,
    rate: float = 0.1,
    attention: Part | None = None,
) -> Part:
    """The Part of a :class:`~unimodal.model.Model` of variates; call it without sizes.

    The paper's map from the width to the forecast is not in it: it is the head of whoever forecasts.

    Args:
        dim: Width.
        depth: Blocks.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward; None means ``dim``, as in most of the published sizes.
        lookback: Steps of the window.
        stamps: Whether time features are further tokens.
        rate: Of the dropout on embeddings, attention weights, both branches and the hidden numbers.
        attention: Another attention rule (the paper's iFlowformer, iReformer ...), or None for softmax.
    """
    norm = Part(LayerNorm, eps=1e-5)
    rule = Part(DropoutAttention, rate=rate) if attention is None else attention
    mixer = Part(DropoutMixer, mixer=Part(Full, heads=heads, attention=rule), rate=rate)
    ffn = Part(DropoutFFN, hidden=hidden or dim, rate=rate)
    return Part(
        Model,
        dim=dim,
        tokenizers={"variates": Part(catalog("tokenizers")["variates"], lookback=lookback, stamps=stamps, rate=rate)},
        transformer=Part(
            Transformer, depth=depth, blocks=Part(Block, mixer=mixer, ffn=ffn, norm=norm, layout="post"), norm=norm
        ),
        readout=Part(Mean),
    )
