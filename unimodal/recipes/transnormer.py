"""TransNormer: diagonal attention in the first half of the layers, norm attention in the second, gated feed-forwards.

Source: Qin et al. 2022, arXiv:2210.10340, sec. 4 and fig. 4; variants and sizes as the authors' code has them
(github.com/OpenNLPLab/fairseq-evo, models/lm_x_attention/norm_transformer_lm.py: blocks of 64, the first half local,
relu with elu or softmax with 1 + elu, gated feed-forwards with swish; six layers, 8 heads, width 512, norms in front).

            diagonal    norm attention
    T1      relu        elu
    T2      softmax     elu + 1
"""

from types import MappingProxyType

from unimodal.attention.diagonal import DiagonalAttention
from unimodal.attention.linear import LinearAttention
from unimodal.attention.norm_attention import NormAttention
from unimodal.block import Block
from unimodal.ffns.gated import Gated
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.transformer import Transformer

__all__ = ["transnormer"]

VARIANTS = MappingProxyType({"t1": ("relu", "elu"), "t2": ("softmax", "elu_plus_one")})


def transnormer(
    *,
    variant: str = "t1",
    depth: int = 6,
    heads: int = 8,
    hidden: int | None = None,
    block: int = 64,
    norm: str = "rms",
    position: Part | None = None,
) -> Part:
    """The Part of a Transformer; with causal order it is a language model's core, without it an encoder.

    The norm behind diagonal attention is, as in the released code, the one behind norm attention; the released one is
    gated there by a learned factor a channel. Weights start as all of this suite do, not by the released xavier
    uniform of gain 2 ** -0.5.

    Args:
        variant: ``t1`` or ``t2``, see the table.
        depth: Layers; of an odd number the second half has one more.
        heads: Attention heads.
        hidden: Hidden width of the feed-forwards; None for 8/3 of the width.
        block: Tokens of a block of diagonal attention.
        norm: Of the attention outputs: ``rms`` or ``layer``.
        position: Acts on queries and keys head by head, or None.

    Raises:
        ValueError: an unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
    weights, features = VARIANTS[variant]
    rules = {
        "first": Part(DiagonalAttention, block=block, weights=weights),
        "second": Part(LinearAttention, features=features, normalised=False),
    }
    blocks = {
        name: Part(
            Block,
            mixer=Part(Full, heads=heads, attention=Part(NormAttention, rule=rule, norm=norm), position=position),
            ffn=Part(Gated, hidden=hidden, bias=True),
        )
        for name, rule in rules.items()
    }
    local = depth // 2
    layers = (blocks["first"],) * local + (blocks["second"],) * (depth - local)
    return Part(Transformer, depth=depth, blocks=layers, norm=Part(LayerNorm))
