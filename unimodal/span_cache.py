"""Span cache: a causal transformer token by token, each layer keeping no more keys and values than its span needs.

Source: Zhang et al. 2023, arXiv:2310.12442 (MASFormer), sec. 3; a window's rolling buffer: Jiang et al. 2023,
arXiv:2310.06825, sec. 2.
Axes: B rows, N new tokens, M kept tokens, D width, G key heads, K key width.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["SpanCache"]


class SpanCache:
    """Called with the next tokens of every row, it gives what the transformer gives of them behind all earlier ones.

    A layer of full attention keeps all keys and values; one of blocks those that the next token may see, at most
    (1 + lookback) block and less as soon as a block is full; one of a window the last ``window``. The transformer is
    left as it is; the cache holds its weights, not a copy.

    Tokens come with what stands before a transformer: embedding, positions, prefix. Learned positions of token n are
    those of the sequence up to it: ``model.place(tokens, modality).replace(x[:, n:])``. A position part on heads reads
    ``side.positions``, which then has to be set.

    Args:
        transformer: With a mixer ``Full`` (or one like it) in each block, and softmax, block-local or sliding-window
            attention.

    Shapes:
        tokens.x: (B, N, D), N >= 1;  returns Tokens with x (B, N, D).

    Raises:
        ValueError: layers share weights, have another attention or norms over tokens; or the tokens are not causal, or
            have a mask, a bias, a memory, lengths or a packed layout.

    Cost: a step of one token reads at most the kept keys and values; a step of several computes at least N of them.
    """

    def __init__(self, transformer: Transformer) -> None:
        if transformer.shared > 1:
            raise ValueError(f"layers in groups of {transformer.shared} share weights, and would share keys and values")
        self._core: Any = sharing_copy(transformer)
        self._layers: list[_Remembering] = []
        for i, block in enumerate(self._core.blocks):
            rule = getattr(getattr(block, "mixer", None), "attention", None)
            if type(rule) not in (SoftmaxAttention, BlockLocalAttention, SlidingWindowAttention):
                raise ValueError(f"layer {i} has {type(rule).__name__}, whose span is not known")
            block.mixer.attention = _Remembering(rule)
            self._layers.append(block.mixer.attention)

    def __call__(self, tokens: Tokens) -> Tokens:
        tokens.side.honour("causal")
        if not tokens.side.causal:
            raise ValueError("only causal tokens come one after another: side.causal must be set")
        return self._core(tokens)

    def kept(self) -> list[int]:
        """How many keys each layer holds."""
        return [0 if layer.k is None else layer.k.shape[2] for layer in self._layers]

    def reset(self) -> None:
        """Forget all tokens."""
        for layer in self._layers:
            layer.k = layer.v = None
            layer.seen = 0


class _Remembering(nn.Module):
    """An attention rule behind the keys and values of earlier calls."""

    def __init__(self, rule: Any) -> None:
        super().__init__()
        self.rule, self.seen = rule, 0
        self.k: Tensor | None = None
        self.v: Tensor | None = None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        if self.k is not None and self.v is not None:
            k, v = torch.cat([self.k, k], dim=2), torch.cat([self.v, v], dim=2)
        self.seen += q.shape[2]
        spare = k.shape[2] - (self.seen - self._first_needed())
        # A view would keep what is cut off alive.
        self.k, self.v = (t[:, :, spare:].clone() if spare > 0 else t for t in (k, v))
        return self.rule(q, k, v, side)

    def _first_needed(self) -> int:
        """The first token that the next one, number ``seen``, may see."""
        if isinstance(self.rule, BlockLocalAttention):
            return max(0, (self.seen // self.rule.block - self.rule.lookback) * self.rule.block)
        return max(0, self.seen - self.rule.window) if isinstance(self.rule, SlidingWindowAttention) else 0
