"""Aspect ratio: a total number of attention heads, spread over many layers or put side by side in few.

Source: Brown et al. 2022, arXiv:2210.00640, sec. 3 (layers times heads per layer is constant, and so is all else: the
width, the width of a head, the hidden width).

Parameters of width 512, heads 64 wide, hidden width 2048, 48 heads in all; biases as here (queries, keys and values
none), two norms a layer and one behind the last. The attention maps have 6,291,456 weights at every ratio:

    6 x 8: 18,906,112   3 x 16: 12,599,296   2 x 24: 10,497,024   1 x 48: 8,394,752
"""

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.transformer import Transformer

__all__ = ["aspect_ratio"]


def aspect_ratio(
    total_heads: int,
    layers: int,
    *,
    head_width: int = 64,
    hidden: int = 2048,
    attention: Part = Part(SoftmaxAttention),
    activation: str = "gelu",
    layout: str = "pre",
) -> Part:
    """A Transformer part with ``total_heads / layers`` heads in each layer; call it with the width D.

    The inner width of a layer is heads times ``head_width`` and has nothing to do with D: a head is as wide in one wide
    layer as in many narrow ones. With A heads in all of width K, hidden width F and L layers there are

        4 D A K weights of attention, whatever L;  L (2 D F + F + 6 D) + 2 D other numbers.

    Args:
        total_heads: Heads of all layers together.
        layers: L.
        head_width: K, of one head.
        hidden: F, of the feed-forward.
        attention: The rule of every layer; a part for heads of one number must have ``heads`` set to it.
        activation: A name from :mod:`unimodal.activation`.
        layout: Of the block.

    Raises:
        ValueError: ``layers`` does not divide ``total_heads``.
    """
    if layers < 1 or total_heads % layers:
        raise ValueError(f"{layers} layers cannot share {total_heads} heads evenly")
    norm = Part(LayerNorm)
    block = Part(
        Block,
        mixer=Part(Full, heads=total_heads // layers, head_width=head_width, bias=False, attention=attention),
        ffn=Part(Plain, hidden=hidden, activation=activation),
        norm=norm,
        layout=layout,
    )
    return Part(Transformer, depth=layers, blocks=block, norm=norm)
