"""Interleaved latents: layers within groups of tokens take turns with layers over a few latents of every group.

Source: Chen & Li 2023, arXiv:2305.12689; its code google-research/pix2seq, architectures/transformers.py (FIT, FITAR,
FITDenoiser), which we follow where the paper is silent.
Axes: B rows, N tokens, T groups, S slots of a group, M latents of a group, D width of tokens, E width of latents.
"""

import re
from collections.abc import Iterator, Sequence

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.token_groups import TokenGroups
from unimodal.tokens import Tokens

__all__ = ["InterleavedLatents"]


class InterleavedLatents(nn.Module):
    """Stage i of ``spec = "(a)b(c)d..."``, with tokens x_g and latents z_g of group g:

        x_g = local blocks(x_g)                                      a of them, each group by itself
        z_g = cross(z_g, memory = x_g)                               a group's latents read the group
        z = blocks across(z_1 .. z_T)                                b of them, over the latents of all groups
        x_g = cross(x_g, memory = z_g)                               in all stages but the last

    Tokens start as x + slot, the same slots in every group, and latents as a learned table: where a group is, only
    its latents know. No layer sees all tokens, so time and memory grow like N S + (N M / S)^2.

    Causal order (``side.causal``) keeps every token from later ones: local blocks are causal; the latents of a group
    read all of it and see those of their own and earlier groups; and a group's tokens read the latents of the group
    before (the first group reads zeros), so that none hears of its own future.

    Sequences may be shorter than T S: the last group is then short, and groups that have no tokens have no latents.

    Args:
        dim: Width D.
        spec: Local and global layers; the last number may be missing: then tokens are the result, otherwise latents.
        groups: T, at most (for windows: exactly).
        slots: S, or (rows, columns) of a window; see :class:`~unimodal.token_groups.TokenGroups`.
        latents: M.
        width: E; None means D.
        local: A block within groups.
        across: A block over latents.
        cross: A :class:`~unimodal.cross_block.CrossBlock`; it is built for both directions.
        condition: A cross block with which the latents of each stage first read ``side.memory``, whose width is E; or
            None.
        norm: Norm of the results, one for tokens and one for latents.

    Shapes:
        forward: tokens.x (B, N, D);  returns Tokens of (B, N, D) or, where latents are the result, (B, T' M, E) of the
        T' groups that have tokens.

    Raises:
        ValueError: the spec is malformed or has a stage without global layers before its last; a size is not positive;
            tokens do not fit into the groups; causal latents would be the result; depths asked of :meth:`features` do
            not exist; a mask or bias is set, or a memory without ``condition``.

    Cost: with S ~ N^(1/3) and constant M, O(N^(4/3)) for attention.
    """

    def __init__(
        self,
        dim: int,
        *,
        spec: str,
        groups: int,
        slots: int | tuple[int, int],
        latents: int,
        local: Part,
        across: Part,
        cross: Part,
        width: int | None = None,
        condition: Part | None = None,
        norm: Part = Part(LayerNorm),
    ) -> None:
        super().__init__()
        width = dim if width is None else width
        self.groups = TokenGroups(slots, groups)
        if latents < 1:
            raise ValueError(f"latents must be positive, not {latents}")
        self.layers, self.conditioned = _parsed(spec), condition is not None
        self.slots = nn.Parameter(nn.init.trunc_normal_(torch.empty(self.groups.size, dim), std=0.02))
        self.latents = nn.Parameter(nn.init.trunc_normal_(torch.empty(groups, latents, width), std=0.02))
        last, blocks = len(self.layers) - 1, (local, across, cross, condition)
        self.stages = nn.ModuleList(_Stage(dim, width, n, i == last, *blocks) for i, n in enumerate(self.layers))
        self.norm_tokens, self.norm_latents = norm(dim), norm(width)

    def forward(self, tokens: Tokens) -> Tokens:
        if tokens.side.causal and self.layers[-1][1]:
            raise ValueError("latents read their whole group, so they are no causal result: end the spec with (n)")
        return self.streams(tokens)[self.layers[-1][1] > 0]

    def streams(self, tokens: Tokens, start: Tensor | None = None) -> tuple[Tokens, Tokens]:
        """Tokens and latents after the last stage, each through its norm; ``start`` (B, T' M, E) is added to the table.

        ``start`` is for latents that are conditioned on those of an earlier pass.
        """
        if tokens.side.cu_seqlens is not None:
            x, latents = self.streams(tokens.padded(), start)
            return Tokens(x.packed().x, tokens.side), latents.packed()
        *_, (x, z) = self._run(tokens, start)
        x_BND = self.groups.join(self.norm_tokens(x), tokens)
        return tokens.replace(x_BND), Tokens(self.norm_latents(z.x), Side(lengths=z.side.lengths))

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        """The tokens after each of ``depths`` stages (0 = before the first), the last depth through the norm."""
        bad = [d for d in depths if not 0 <= d <= len(self.stages)]
        if bad or list(depths) != sorted(depths):
            raise ValueError(f"depths must ascend within 0..{len(self.stages)}, not {list(depths)}")
        if tokens.side.cu_seqlens is not None:
            return [Tokens(x.packed().x, tokens.side) for x in self.features(tokens.padded(), depths)]
        kept = []
        for i, (x, _) in enumerate(self._run(tokens, None)):
            x = self.norm_tokens(x) if i == len(self.stages) else x
            kept += [tokens.replace(self.groups.join(x, tokens))] * list(depths).count(i)
        return kept

    def _run(self, tokens: Tokens, start: Tensor | None) -> Iterator[tuple[Tensor, Tokens]]:
        """(B T', S, D) tokens and (B, T' M, E) latents before the first stage and after each."""
        side = tokens.side.honour("causal", "lengths", *(("memory",) if self.conditioned else ()))
        rows, count, counts = self.groups.split(tokens), self.groups.count(tokens), self.groups.counts(tokens)
        over = self._over(count, None if counts is None else counts * self.latents.shape[1], side)
        z = self.latents[:count].flatten(0, 1).to(rows.x.dtype).expand(len(tokens.x), -1, -1)
        x, z = rows.x + self.slots, z if start is None else z + start
        yield x, Tokens(z, over)
        for stage in self.stages:
            x, z = stage(x, z, rows.side, over, side.memory)
            yield x, Tokens(z, over)

    def _over(self, count: int, lengths: Tensor | None, side: Side) -> Side:
        """What latents see of one another: all, or in causal order those of their own and earlier groups."""
        held = self.latents.shape[1]
        if not side.causal or held == 1:
            return Side(causal=side.causal, lengths=lengths)
        group_Q = torch.arange(count * held, device=self.latents.device) // held
        return Side(mask=(group_Q[:, None] >= group_Q)[None, None], lengths=lengths)


class _Stage(nn.Module):
    """One pair of the spec."""

    def __init__(
        self,
        dim: int,
        width: int,
        layers: tuple[int, int],
        last: bool,
        local: Part,
        across: Part,
        cross: Part,
        condition: Part | None,
    ) -> None:
        super().__init__()
        within, over = layers
        self.local = nn.ModuleList(local(dim) for _ in range(within))
        self.read = cross(width, dim) if over else None
        self.told = condition(width, width) if over and condition is not None else None
        self.across = nn.ModuleList(across(width) for _ in range(over))
        self.write = None if last else cross(dim, width)

    def forward(
        self, x_RSD: Tensor, z_BQE: Tensor, within: Side, over: Side, memory: Tokens | None
    ) -> tuple[Tensor, Tensor]:
        for block in self.local:
            x_RSD = block(x_RSD, within)
        if self.read is not None:
            z_RME = z_BQE.unflatten(1, (len(x_RSD) // len(z_BQE), -1)).flatten(0, 1)
            z_RME = self.read(z_RME, Side(memory=Tokens(x_RSD, Side(lengths=within.lengths))))
            z_BQE = z_RME.unflatten(0, (len(z_BQE), -1)).flatten(1, 2)
        if self.told is not None and memory is not None:
            z_BQE = self.told(z_BQE, Side(memory=memory))
        for block in self.across:
            z_BQE = block(z_BQE, over)
        if self.write is not None:
            z_BTME = z_BQE.unflatten(1, (len(x_RSD) // len(z_BQE), -1))
            if within.causal:
                z_BTME = torch.cat([torch.zeros_like(z_BTME[:, :1]), z_BTME[:, :-1]], 1)
            x_RSD = self.write(x_RSD, Side(memory=Tokens(z_BTME.flatten(0, 1))))
        return x_RSD, z_BQE


def _parsed(spec: str) -> tuple[tuple[int, int], ...]:
    whole = f"{spec}0" if spec.endswith(")") else spec
    if not re.fullmatch(r"(\(\d+\)\d+)+", whole):
        raise ValueError(f"spec is written like '(2)4(2)4' or '(2)4(2)', not {spec!r}")
    layers = tuple((int(a), int(b)) for a, b in re.findall(r"\((\d+)\)(\d+)", whole))
    if any(b == 0 for _, b in layers[:-1]):
        raise ValueError(f"only the last stage may be without global layers, not {spec!r}")
    return layers
