"""Pre-norm transformer: the core that ViT, CLIP, SigLIP and DINOv2 share, up to numbers.

Source: Xiong et al. 2020, arXiv:2002.04745, fig. 1b; Dosovitskiy et al. 2020, arXiv:2010.11929, eq. 2-4.
"""

from unimodal.block import Block
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.transformer import Transformer

__all__ = ["pre_norm"]


def pre_norm(
    *,
    depth: int,
    heads: int,
    hidden: int,
    activation: str = "gelu",
    gated: bool = False,
    eps: float = 1e-6,
    qkv_bias: bool = True,
    qk_norm: bool = False,
    layer_scale: float | None = None,
    drop_path: float = 0.0,
    final_norm: bool = True,
) -> Part:
    """A Transformer part of pre-norm blocks with full softmax attention.

    Args:
        depth: Blocks.
        heads: Attention heads.
        hidden: Hidden width of the feed-forward.
        activation: A name from :mod:`unimodal.activation`.
        gated: Whether the feed-forward is gated (then ``hidden`` is the width of each half).
        eps: Of every norm.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_norm: Whether queries and keys are normalised head by head.
        layer_scale: Initial value of the trained factors on the branches, or None.
        drop_path: Stochastic depth of the last block.
        final_norm: Whether a norm follows the last block.
    """
    norm = Part(LayerNorm, eps=eps)
    ffn = (
        Part(Gated, hidden=hidden, activation=activation, bias=True)
        if gated
        else Part(Plain, hidden=hidden, activation=activation)
    )
    mixer = Part(Full, heads=heads, bias=qkv_bias, norm=norm if qk_norm else None)
    block = Part(Block, mixer=mixer, ffn=ffn, norm=norm, layer_scale=layer_scale)
    return Part(Transformer, depth=depth, blocks=block, drop_path=drop_path, norm=norm if final_norm else None)
