"""Word encoder: the tower that BERT, RoBERTa and their kin share, from transformers' names to ours.

Source: Devlin et al. 2018, arXiv:1810.04805; sentence vectors: Reimers & Gurevych 2019, arXiv:1908.10084, sec. 3.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from unimodal.catalog import catalog
from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.first_token import FirstToken
from unimodal.readouts.mean import Mean
from unimodal.readouts.unit_length import UnitLength
from unimodal.renaming import blocks

__all__ = ["word_encoder"]

_BLOCK = MappingProxyType(
    {
        "mixer.to_qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
        "mixer.to_out": ("attention.output.dense",),
        "norm_mixer": ("attention.output.LayerNorm",),
        "ffn.to_hidden": ("intermediate.dense",),
        "ffn.to_out": ("output.dense",),
        "norm_ffn": ("output.LayerNorm",),
    }
)
_POOLED = ["Transformer", "Pooling"]
_POOLS = MappingProxyType({"mean": Mean, "cls": FirstToken})


def word_encoder(
    published: Published,
    at: str,
    *,
    core: Part,
    readout: tuple[Part, dict[str, From]],
    aside: Mapping[str, str],
    offset: int = 0,
) -> Conversion:
    """A post-norm text tower whose sentences are all of the first kind (token type 0).

    Its readout is the sentence encoder's where one is stored with the model.

    The row of token type 0 is added to every token, so the position table holds it: the model is the same function
    with the token types' rows fewer. Old files call a norm's weight and bias gamma and beta.

    Args:
        published: The peer.
        at: What stands before ``embeddings`` in its names.
        core: The transformer.
        readout: The model's own, and its tensors.
        aside: What is left aside, and why, by the beginning of the names.
        offset: Rows of the position table before that of the first token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have.
    """
    config, rows = published.config, at + "embeddings."
    published.require("position_embedding_type", config.get("position_embedding_type", "absolute"), "absolute")
    published.require("is_decoder", config.get("is_decoder", False), False)
    places = config["max_position_embeddings"] - offset
    words = Part(
        catalog("tokenizers")["text"],
        vocabulary=config["vocab_size"],
        context=min(config.get("sentence_embedding", {}).get("max_seq_length") or places, places),
        encoding=published.encoding,
        causal=False,
    )
    part = Part(
        Model,
        dim=config["hidden_size"],
        tokenizers={"text": words},
        positions={"text": Part(Learned, grid=(places,), resample=False)},
        norm=Part(LayerNorm, eps=config["layer_norm_eps"]),
        transformer=core,
    )
    types, positions = rows + "token_type_embeddings.weight", rows + "position_embeddings.weight"
    names = {ours: tuple(f"{at}encoder.layer.{{}}.{name}" for name in theirs) for ours, theirs in _BLOCK.items()}
    table = {
        "tokenizers.text.table.weight": From((rows + "word_embeddings.weight",)),
        "positions.text.table": From((positions, types), lambda table_LD, types_TD: table_LD[offset:] + types_TD[0]),
        **affine("norm", rows + "LayerNorm"),
        **blocks(config["num_hidden_layers"], names),
    }
    aside = {name: why for start, why in aside.items() for name in published.weights if name.startswith(start)}
    aside[at + "embeddings.position_ids"] = "0, 1, 2 ..."
    pool, of_readout = _sentence_readout(published), {}
    if pool is None:
        pool, of_readout = readout
    else:
        why = "the sentence encoder pools by itself"
        aside |= {f"{at}pooler.dense.{kind}": why for kind in ("weight", "bias")}
    table = {ours: _as_stored(origin, published) for ours, origin in table.items()}
    return Conversion({"text": Tower(part.replace(readout=pool), {**table, **of_readout})}, aside)


def _sentence_readout(published: Published) -> Part | None:
    """What sentence-transformers puts behind the tokens, or None if nothing of it is stored with the model.

    Raises:
        CheckpointError: it has a module or a pooling that the core does not have.
    """
    found = published.config.get("sentence_embedding")
    if found is None:
        return None
    modules, pooling = list(found["modules"]), dict(found["pooling"])
    published.require("the sentence modules", modules, [*_POOLED, "Normalize"], _POOLED)
    published.require("do_lower_case of the sentences", found.get("do_lower_case", False), False)
    modes = [name.removeprefix("pooling_mode_") for name, on in pooling.items() if on is True and "_mode_" in name]
    mode = pooling.get("pooling_mode", modes[0].removesuffix("s").removesuffix("_token") if len(modes) == 1 else modes)
    published.require("the pooling of sentences", mode, *_POOLS)
    pool = Part(_POOLS[mode])
    return Part(UnitLength, pool=pool) if modules[-1] == "Normalize" else pool


def _as_stored(origin: From, published: Published) -> From:
    old = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
    names = [(name, name.replace(new, was)) for name in origin.names for new, was in old.items() if name.endswith(new)]
    renamed = {name: was for name, was in names if name not in published.weights and was in published.weights}
    return replace(origin, names=tuple(renamed.get(name, name) for name in origin.names))
