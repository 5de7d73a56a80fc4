"""Reduced block: where the tensors of a block of PVTv2 come from, whatever the peer calls its layers.

Source: Wang et al. 2021, arXiv:2106.13797, sec. 3.
"""

from collections.abc import Mapping

from unimodal.conversion import From, affine
from unimodal.renaming import cell_map

__all__ = ["reduced_block"]


def reduced_block(
    ours: str, theirs: str, names: Mapping[str, str], *, reduction: int | None, bias: bool
) -> dict[str, From]:
    """The origin of each tensor of a block that :func:`unimodal.recipes.pvt_v2.pvt_v2` makes.

    Args:
        ours: Where the block stands in our model.
        theirs: And in the peer's.
        names: What the peer calls ``norm_mixer``, ``to_qkv`` (several, with blanks between), ``to_out``, ``reduce``,
            ``norm_reduced``, ``norm_ffn``, ``to_hidden``, ``around`` and ``from_hidden``.
        reduction: As in the recipe: cells that become a key, 1 for none, or None for linear attention.
        bias: Whether queries, keys and values have a bias.
    """
    mixer, linear = f"{ours}.mixer" if reduction == 1 else f"{ours}.mixer.mixer", reduction is None
    origin = {name: [f"{theirs}.{layer}" for layer in layers.split()] for name, layers in names.items()}
    table = {
        **affine(f"{ours}.norm_mixer", *origin["norm_mixer"]),
        **affine(f"{mixer}.to_qkv", *origin["to_qkv"], bias=bias),
        **affine(f"{mixer}.to_out", *origin["to_out"]),
        **affine(f"{ours}.norm_ffn", *origin["norm_ffn"]),
        **affine(f"{ours}.ffn.parts.0.project", *origin["to_hidden"]),
        **affine(f"{ours}.ffn.parts.{2 if linear else 1}", *origin["around"]),
        **affine(f"{ours}.ffn.parts.{4 if linear else 3}.project", *origin["from_hidden"]),
    }
    if linear:
        table |= cell_map(f"{ours}.mixer.reduce.behind.parts.0.project", *origin["reduce"])
        table |= affine(f"{ours}.mixer.reduce.behind.parts.1", *origin["norm_reduced"])
    elif reduction != 1:
        table |= affine(f"{ours}.mixer.reduce.convolution", *origin["reduce"])
        table |= affine(f"{ours}.mixer.reduce.behind", *origin["norm_reduced"])
    return table
