"""Sliced recursive transformer: a stage of SReT, blocks that are looped with attention in groups of tokens.

Source: Shen et al. 2021, arXiv:2111.05297; sizes: its code github.com/szq0214/SReT, SReT.py (SReT_T, SReT_LT, SReT_S).

Parameters of the three stages (of 28 x 28, 14 x 14 and 7 x 7 tokens) and of the whole published model, whose rest is
its stem, its pooling and its classifier:

    T    127,068 + 1,257,380 +  3,003,363 of  4,755,979
    LT   133,776 + 1,324,200 +  3,161,880 of  4,988,024
    S    577,096 + 5,743,120 + 13,750,152 of 20,899,692
"""

from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.recursive_block import RecursiveBlock
from unimodal.token_slices import TokenSlices
from unimodal.transformer import Transformer
from unimodal.weighted_residual import WeightedResidual

__all__ = ["sliced_recursive"]


def sliced_recursive(
    *,
    depth: int,
    heads: int,
    loops: int = 2,
    groups: tuple[int, ...] = (8, 2),
    ratio: float = 3.6,
    project_ratio: float = 1.0,
    drop_path: float | tuple[float, ...] = 0.0,
) -> Part:
    """A Transformer part of ``depth`` recursive blocks, each applied ``loops`` times.

    Args:
        depth: Blocks with weights of their own; the released code's ``depth`` counts applications, depth x loops.
        heads: Attention heads.
        loops: Applications of each block.
        groups: Groups of tokens, a number a loop, taken in turn; from the second on tokens are permuted first.
        ratio: Hidden width of the feed-forward over the width.
        project_ratio: The same of the projections behind each application.
        drop_path: Stochastic depth of the last block, growing linearly from 0 at the first; or that of each block.

    Raises:
        ValueError: not as many rates as blocks.
    """
    if isinstance(drop_path, tuple) and len(drop_path) != depth:
        raise ValueError(f"drop_path is one rate, or one for each of {depth} blocks, not {drop_path}")
    norm = Part(LayerNorm, eps=1e-6)
    branches = (Part(Full, heads=heads), Part(Plain, ratio=ratio), Part(Plain, ratio=project_ratio))
    mixing, feeding, project = (Part(WeightedResidual, branch=branch, norm=norm) for branch in branches)
    slices = tuple(Part(TokenSlices, groups=n, permuted=i > 0 and n > 1) for i, n in enumerate(groups))
    block = Part(
        RecursiveBlock,
        blocks=(mixing, feeding),
        loops=loops,
        project=project,
        slices=slices if max(groups, default=1) > 1 else (),
    )
    if isinstance(drop_path, tuple):
        return Part(Transformer, depth=depth, blocks=tuple(block.replace(drop_path=rate) for rate in drop_path))
    return Part(Transformer, depth=depth, blocks=block, drop_path=drop_path)
