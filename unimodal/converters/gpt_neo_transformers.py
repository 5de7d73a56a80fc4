"""transformers' GPT-Neo: the language model without its output, whose rows are the token table's.

Source: Black et al. 2021, GPT-Neo (github.com/EleutherAI/gpt-neo); layout: github.com/huggingface/transformers,
models/gpt_neo.
"""

from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.peer_settings import activation, text_tower
from unimodal.readouts.last_token import LastToken
from unimodal.renaming import blocks, lattice_rows
from unimodal.transformer import Transformer

__all__ = ["gpt_neo_transformers"]


def gpt_neo_transformers(published: Published) -> Conversion:
    """A causal text tower that reads its last token; logits are its tokens times the rows of its token table.

    Queries are not scaled. A local layer sees ``window_size`` tokens, itself among them. The peer's dropout is left
    out.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("transformer.")
    depth, layer = config["num_layers"], at + "h.{}."
    published.require("tie_word_embeddings", config.get("tie_word_embeddings", True), True)
    for kind in config["attention_layers"]:
        published.require("the attention of a layer", kind, "global", "local")
    table = {
        "tokenizers.text.table.weight": From((at + "wte.weight",)),
        **lattice_rows(at + "wpe.weight", 0, "text"),
        **blocks(
            depth,
            {
                "norm_mixer": layer + "ln_1",
                "mixer.to_qkv": tuple(f"{layer}attn.attention.{name}_proj" for name in "qkv"),
                "mixer.to_out": layer + "attn.attention.out_proj",
                "norm_ffn": layer + "ln_2",
                "ffn.to_hidden": layer + "mlp.c_fc",
                "ffn.to_out": layer + "mlp.c_proj",
            },
            qkv_bias=False,
        ),
        **affine("transformer.norm", at + "ln_f"),
    }
    aside = {"lm_head.weight": "the token table once more"}
    for i in range(depth):
        attention = layer.format(i) + "attn.attention."
        aside |= {attention + "bias": "the causal mask", attention + "masked_bias": "a large negative number"}
    core = Part(Transformer, depth=depth, blocks=_blocks(published), norm=Part(LayerNorm, eps=_eps(published)))
    part = text_tower(
        published,
        dim=config["hidden_size"],
        vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        core=core,
        readout=Part(LastToken),
        causal=True,
    )
    return Conversion({"text": Tower(part, table)}, aside)


def _blocks(published: Published) -> tuple[Part, ...]:
    config = published.config
    rules = {
        "global": Part(SoftmaxAttention, scale=1.0),
        "local": Part(SlidingWindowAttention, window=config["window_size"] - 1, scale=1.0),
    }
    hidden = config["intermediate_size"] or 4 * config["hidden_size"]
    ffn = Part(Plain, hidden=hidden, activation=activation(published, config["activation_function"]))
    return tuple(
        Part(
            Block,
            mixer=Part(Full, heads=config["num_heads"], bias=False, attention=rules[kind]),
            ffn=ffn,
            norm=Part(LayerNorm, eps=_eps(published)),
        )
        for kind in config["attention_layers"]
    )


def _eps(published: Published) -> float:
    return published.config["layer_norm_epsilon"]
