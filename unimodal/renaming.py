"""Renaming: the tensors that every transformer has, from a peer's names to ours.

Axes: D width, L lattice cells, R prefix tokens.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from unimodal.conversion import From, affine

__all__ = ["blocks", "cell_map", "class_rows", "lattice_rows", "patches"]


def blocks(
    depth: int,
    names: Mapping[str, str | tuple[str, ...]],
    *,
    scales: Mapping[str, str] | None = None,
    qkv_bias: bool = True,
) -> dict[str, From]:
    """Every block's tensors.

    Args:
        depth: Blocks.
        names: The peer's module of each of ours inside a block, with ``{}`` for the block's number.
        scales: The peer's layer-scale vectors, likewise; None if it has none.
        qkv_bias: Whether queries, keys and values have a bias.
    """
    table: dict[str, From] = {}
    for i in range(depth):
        for ours, theirs in names.items():
            modules = (theirs,) if isinstance(theirs, str) else theirs
            biased = qkv_bias or ours != "mixer.to_qkv"
            table |= affine(f"transformer.blocks.{i}.{ours}", *(name.format(i) for name in modules), bias=biased)
        for ours, theirs in (scales or {}).items():
            table[f"transformer.blocks.{i}.{ours}"] = From((theirs.format(i),))
    return table


def patches(theirs: str, *, bias: bool = True) -> dict[str, From]:
    """The patch projection of an image tower."""
    return affine("tokenizers.image.stem.project", theirs, bias=bias)


def cell_map(ours: str, theirs: str, *, bias: bool = True) -> dict[str, From]:
    """A linear map that the peer stores as a convolution of one cell, or as a linear map."""
    return {**affine(ours, theirs, bias=bias), f"{ours}.weight": From((f"{theirs}.weight",), lambda w: w.flatten(1))}


def class_rows(tokens: tuple[str, ...], table: str | None, rows: int) -> dict[str, From]:
    """Prefix tokens with the position rows that the peer adds to the first ``rows`` of them folded in.

    x_r + p_r is a constant, so one vector holds it; the model is the same function with rows D fewer parameters.
    """

    def fold(*given: Tensor) -> Tensor:
        flat = [t.reshape(-1, t.shape[-1]) for t in given]
        if table is None or not rows:
            return torch.cat(flat)
        prefix, positions = torch.cat(flat[:-1]), flat[-1]
        return torch.cat([prefix[:rows] + positions[:rows], prefix[rows:]])

    return {"prefix.tokens": From((*tokens, table) if table is not None and rows else tokens, fold)}


def lattice_rows(table: str, rows: int, modality: str = "image") -> dict[str, From]:
    """The position table without its first ``rows``, which belong to prefix tokens."""
    return {f"positions.{modality}.table": From((table,), lambda t: t.reshape(-1, t.shape[-1])[rows:].contiguous())}
