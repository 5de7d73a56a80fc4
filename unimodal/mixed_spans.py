"""Mixed spans: a trained model in which few layers see everything and the others their neighbourhood, same weights.

Source: Zhang et al. 2023, arXiv:2310.12442 (MASFormer), sec. 3: full attention in the bottom layers.
Axes: N tokens, L layers.
"""

from typing import Any, TypeVar

import torch.nn as nn

from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy
from unimodal.transformer import Transformer

__all__ = ["causal_scores", "full_layers", "to_mixed_spans"]

M = TypeVar("M", bound=nn.Module)


def to_mixed_spans(
    model: M, *, full: int, local: Part = Part(BlockLocalAttention, block=1024), placement: str = "bottom"
) -> M:
    """A model over the same weights whose layers attend locally, but for ``full`` of them.

    Nothing is learned anew and no tensor is copied: both models hold the same ones, so that training one changes the
    other (``copy.deepcopy`` parts them). With ``full`` = L, or ``local`` spans as long as the sequence, it is the same
    function. What it loses elsewhere is won back by training on. Its parts are not those of the model's Part: save the
    weights, and convert after loading; or put the layers into the Part, as :mod:`unimodal.recipes.masformer` does.

    Args:
        model: A Model or a Transformer, or another module that holds one as ``transformer``.
        full: Layers with full attention.
        local: The attention rule of the others; it takes over the scale of the one that it replaces.
        placement: Where the full layers are: see :func:`full_layers`.

    Raises:
        ValueError: the model has no Transformer, its layers share weights, a layer's attention is neither softmax nor
            one that this function made of it, ``full`` is not in 0..L, or an unknown placement.
    """
    core = getattr(model, "transformer", model)
    if type(core) is not Transformer:
        raise ValueError(f"model must be a Transformer or hold one, not {type(model).__name__}")
    if core.shared > 1:
        raise ValueError(f"layers in groups of {core.shared} share weights, so that a layer has no span of its own")
    keep = full_layers(core.depth, full, placement)
    new = sharing_copy(model)
    blocks: Any = getattr(new, "transformer", new).blocks
    for i, block in enumerate(blocks):
        rule: Any = getattr(getattr(block, "mixer", None), "attention", None)
        if type(rule) not in (SoftmaxAttention, BlockLocalAttention, SlidingWindowAttention):
            raise ValueError(f"layer {i} has {type(rule).__name__} where softmax attention is needed")
        kind = Part(SoftmaxAttention) if i in keep else local
        block.mixer.attention = kind(scale=rule.scale).train(rule.training)
    return new


def full_layers(depth: int, full: int, placement: str = "bottom") -> tuple[int, ...]:
    """The layers with full attention.

    Args:
        depth: Layers L.
        full: How many of them.
        placement: ``bottom`` (next to the tokens, where the paper has them), ``top``, or ``interleaved``: layers
            floor(i L / full), the first of which is 0.

    Raises:
        ValueError: ``full`` is not in 0..L, or an unknown placement.
    """
    if not 0 <= full <= depth:
        raise ValueError(f"full is a number of layers in 0..{depth}, not {full}")
    if placement == "bottom":
        return tuple(range(full))
    if placement == "top":
        return tuple(range(depth - full, depth))
    if placement == "interleaved":
        return tuple(i * depth // full for i in range(full))
    raise ValueError(f"placement must be 'bottom', 'top' or 'interleaved', not {placement!r}")


def causal_scores(tokens: int, *, block: int | None = None, lookback: int = 0, window: int | None = None) -> int:
    """Scores q k that one head of one layer needs in causal order: what attention costs.

        full      N (N + 1) / 2
        blocks    the same of each block, and b for each query and block before it that it sees
        window    min(n, w) + 1 for the n-th query, from 0

    Args:
        tokens: N.
        block: Tokens b of a block, or None.
        lookback: Blocks before a query's own that it sees.
        window: Tokens w before the query, or None.

    Raises:
        ValueError: both a block and a window are given.
    """
    if block is not None and window is not None:
        raise ValueError("give a block or a window, not both")
    if window is not None:
        ramp = min(tokens, window)
        return ramp * (ramp + 1) // 2 + (tokens - ramp) * (window + 1)
    if block is None:
        return tokens * (tokens + 1) // 2
    whole, rest = divmod(tokens, block)
    own = whole * (block * (block + 1) // 2) + rest * (rest + 1) // 2
    behind = sum(max(0, tokens - i * block) for i in range(1, lookback + 1)) * block
    return own + behind
