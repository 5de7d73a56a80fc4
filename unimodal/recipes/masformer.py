"""MASFormer: a causal language model of GPT-Neo's shape, full attention in the bottom layers, blocks in the others.

Source: Zhang et al. 2023, arXiv:2310.12442, sec. 3 and 4 (24 layers, width 2048, 16 heads: GPT-Neo 1.3B); layout:
github.com/EleutherAI/gpt-neo, in which queries are not scaled and queries, keys and values have no bias.

Parameters with GPT-Neo's 2048 positions: 1,315,575,808, whatever the spans, as output and embedding share a table.
"""

from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.ffns.plain import Plain
from unimodal.mixed_spans import full_layers
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.transformer import Transformer

__all__ = ["masformer"]


def masformer(
    *,
    full: int = 8,
    block: int = 1024,
    lookback: int = 1,
    placement: str = "bottom",
    dim: int = 2048,
    depth: int = 24,
    heads: int = 16,
    context: int = 2048,
    vocabulary: int = 50257,
    encoding: str = "transformers:EleutherAI/gpt-neo-1.3B",
) -> Part:
    """The Part of a :class:`~unimodal.model.Model` of texts without a readout; call it without sizes.

    Logits of the next token are ``model(batch).x @ model.tokenizer("text").table.weight.T``. The paper trains on 8192
    tokens; how it extends the 2048 rows of GPT-Neo's position table is not told.

    Args:
        full: Layers of full attention.
        block: Tokens of a block in the others.
        lookback: Blocks before a token's own that it sees there, 0 or 1.
        placement: Where the full layers are: see :func:`unimodal.mixed_spans.full_layers`.
        dim: Width; the feed-forward is four times as wide.
        depth: Layers.
        heads: Attention heads.
        context: Rows of the position table, the longest text.
        vocabulary: Rows of the token table.
        encoding: How texts become ids: see the text tokenizer.

    Raises:
        ValueError: ``full`` is not in 0..depth, or an unknown placement.
    """
    norm, keep = Part(LayerNorm, eps=1e-5), full_layers(depth, full, placement)
    near = Part(BlockLocalAttention, block=block, lookback=lookback, scale=1.0)
    rules = [Part(SoftmaxAttention, scale=1.0) if i in keep else near for i in range(depth)]
    blocks = tuple(
        Part(
            Block,
            mixer=Part(Full, heads=heads, bias=False, attention=rule),
            ffn=Part(Plain, hidden=4 * dim, activation="gelu_tanh"),
            norm=norm,
        )
        for rule in rules
    )
    words = Part(catalog("tokenizers")["text"], vocabulary=vocabulary, context=context, encoding=encoding)
    return Part(
        Model,
        dim=dim,
        tokenizers={"text": words},
        positions={"text": Part(Learned, grid=(context,), resample=False)},
        transformer=Part(Transformer, depth=depth, blocks=blocks, norm=norm),
    )
