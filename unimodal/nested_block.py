"""Nested block: small tokens inside each token are mixed among themselves, then tell their token, then tokens mix.

Source: Han et al. 2021, arXiv:2103.00112, eq. 1-7; the norm in front of and behind the projection: timm's tnt.py.
Axes: B rows, N tokens, D width of a sentence, M words of a sentence, C width of a word.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["NestedBlock"]


class NestedBlock(nn.Module):
    """A token is a sentence z of width D and, behind it, its M words y of width C:  x = [z, y_1 .. y_M].

        y = inner(y)                         each sentence's words by themselves, as one batch of B N rows
        z = z + norm(W norm(y_1 .. y_M))     lattice tokens only: class and register tokens have no words
        z = outer(z)                         sentences among themselves

    Args:
        dim: D + M C.
        width: D.
        words: M.
        inner: A block for words.
        outer: A block for sentences.
        norm: Norm of the words together and of what they tell their sentence.
        drop_path: Stochastic depth of both blocks (where it is not 0).

    Shapes:
        x: (B, N, D + M C);  returns the same; the words of prefix tokens are as they were.

    Raises:
        ValueError: ``words`` does not divide what ``width`` leaves of ``dim``; a memory is set (its
            tokens would have words too); what ``outer`` refuses.

    Cost: O(B N M C (C + M)) for the words, so linear in the tokens; they take B N M C numbers from block to block.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int,
        words: int,
        inner: Part,
        outer: Part,
        norm: Part = Part(LayerNorm),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < width < dim or words < 1 or (dim - width) % words:
            raise ValueError(f"dim must be width + words x a whole number, not {dim} with width {width}, words {words}")
        self.sizes, self.words = (width, dim - width), words
        rate = {"drop_path": drop_path} if drop_path else {}
        self.inner = inner(self.sizes[1] // words, **rate)
        self.norm_words = norm(self.sizes[1])
        self.to_sentence = nn.Linear(self.sizes[1], width, bias=False)
        self.norm_told = norm(width)
        self.outer = outer(width, **rate)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        z_BND, y_BNE = x.split(self.sizes, dim=-1)
        y_RMC = self.inner(y_BNE.unflatten(-1, (self.words, -1)).flatten(0, 1))
        mixed_BNE = y_RMC.flatten(1).view_as(y_BNE)
        told_BND = self.norm_told(self.to_sentence(self.norm_words(mixed_BNE)))
        if side.prefix:
            lattice_BN1 = _behind_the_prefix(side, x)
            mixed_BNE = torch.where(lattice_BN1, mixed_BNE, y_BNE)
            told_BND = told_BND.masked_fill(~lattice_BN1, 0.0)
        return torch.cat([self.outer(z_BND + told_BND, side), mixed_BNE], dim=-1)


def _behind_the_prefix(side: Side, x: Tensor) -> Tensor:
    place_N = torch.arange(x.shape[1], device=x.device)
    if side.cu_seqlens is not None:
        place_N = place_N - side.cu_seqlens[:-1].repeat_interleave(side.cu_seqlens.diff(), output_size=x.shape[1])
    return (place_N >= side.prefix)[None, :, None]
