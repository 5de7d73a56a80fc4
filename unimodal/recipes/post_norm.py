"""Post-norm transformer: the core of the first transformer encoders, which BERT and its kin share, up to numbers.

Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.1; Devlin et al. 2018, arXiv:1810.04805, sec. 3 (GELU, sizes).
"""

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.transformer import Transformer

__all__ = ["post_norm"]


def post_norm(
    *,
    depth: int,
    heads: int,
    hidden: int,
    activation: str = "gelu",
    eps: float = 1e-12,
    qkv_bias: bool = True,
    drop_path: float = 0.0,
) -> Part:
    """A Transformer part of post-norm blocks with full softmax attention; each block ends in a norm, so none follows.

    Args:
        depth: Blocks.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward.
        activation: A name from :mod:`unimodal.activation`.
        eps: Of every norm.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_path: Stochastic depth of the last block.
    """
    mixer = Part(Full, heads=heads, bias=qkv_bias)
    ffn = Part(Plain, hidden=hidden, activation=activation)
    block = Part(Block, mixer=mixer, ffn=ffn, norm=Part(LayerNorm, eps=eps), layout="post")
    return Part(Transformer, depth=depth, blocks=block, drop_path=drop_path)
