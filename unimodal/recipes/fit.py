"""FIT: a core of pre-norm layers within groups of tokens and over their latents.

Source: Chen & Li 2023, arXiv:2305.12689; its code google-research/pix2seq, architectures/transformers.py, FIT, FITAR.
"""

from unimodal.block import Block
from unimodal.cross_block import CrossBlock
from unimodal.ffns.plain import Plain
from unimodal.interleaved import InterleavedLatents
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part

__all__ = ["fit"]


def fit(
    *,
    spec: str,
    groups: int,
    slots: int | tuple[int, int],
    latents: int,
    heads: int,
    width: int | None = None,
    across_heads: int | None = None,
    ratio: float = 4.0,
    drop_path: float = 0.0,
    fed: bool = False,
    conditioned: bool = False,
) -> Part:
    """An :class:`~unimodal.interleaved.InterleavedLatents` part, which stands where a Transformer does.

    For pictures give the model ``norm=Part(LayerNorm)``, the paper's norm behind its stem. For text give it causal
    tokens and a spec that ends with local layers: that is FIT-AR.

    Args:
        spec: Local and global layers, e.g. ``(2)4(2)4``.
        groups: Groups of tokens, at most.
        slots: Tokens of a group, or (rows, columns) of a window.
        latents: Latents of a group.
        heads: Heads of the local layers.
        width: Width of the latents; None means that of the tokens.
        across_heads: Heads of the global layers; None means ``heads``. Cross-attention has the smaller of the two.
        ratio: Hidden width of the feed-forwards over their width.
        drop_path: Stochastic depth, of every layer alike.
        fed: Whether cross-attention between tokens and latents is followed by a feed-forward (denoisers).
        conditioned: Whether latents read ``side.memory`` in every stage (denoisers).
    """
    norm, ffn, over = Part(LayerNorm, eps=1e-6), Part(Plain, ratio=ratio), across_heads or heads
    local, across = (
        Part(Block, mixer=Part(Full, heads=h), ffn=ffn, norm=norm, drop_path=drop_path) for h in (heads, over)
    )
    return Part(
        InterleavedLatents,
        spec=spec,
        groups=groups,
        slots=slots,
        latents=latents,
        width=width,
        local=local,
        across=across,
        cross=Part(CrossBlock, heads=min(heads, over), ffn=ffn if fed else None, norm=norm),
        condition=Part(CrossBlock, heads=over, norm=norm) if conditioned else None,
        norm=norm,
    )
