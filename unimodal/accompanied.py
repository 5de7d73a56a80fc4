"""Accompanied: tokens with what another tokenizer makes of the same inputs at their side.

Source: a convolutional branch beside a plain vision transformer that reads the same pixels: Xia et al. 2024,
arXiv:2403.07392.
Axes: B rows, N tokens, D width, M tokens at their side, E their width.
"""

from typing import Any

import torch.nn as nn

from unimodal.part import Part
from unimodal.sample import Batch
from unimodal.tokens import Tokens

__all__ = ["Accompanied"]


class Accompanied(nn.Module):
    """tokens = tokenizer(batch), with memory = beside(batch).

    A core that reads both (:class:`~unimodal.pyramid_adapter.PyramidAdapter`) gets an input twice, in two cuts, while
    position and prefix in front of it act on the first one alone. It reads, fits, restores as ``tokenizer`` does; what
    is asked for besides is asked of that.

    Args:
        dim: Width D.
        tokenizer: A tokenizer.
        beside: Another one that takes the same batches.
        width: E.

    Shapes:
        forward: a batch;  returns (B, N, D) with side.memory.x (B, M, E).

    Raises:
        ValueError: the tokenizer's tokens have a memory already.
    """

    def __init__(self, dim: int, *, tokenizer: Part, beside: Part, width: int) -> None:
        super().__init__()
        self.tokenizer, self.beside = tokenizer(dim), beside(width)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("tokenizer"), name)

    def forward(self, batch: Batch) -> Tokens:
        tokens = self.tokenizer(batch)
        if tokens.side.memory is not None:
            raise ValueError("the tokens have a memory already")
        return tokens.replace(memory=self.beside(batch))
