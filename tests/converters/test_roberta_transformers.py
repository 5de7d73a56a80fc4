"""transformers' RoBERTa, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"vocab_size": 90, "max_position_embeddings": 22, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
IDS = [[0, 5, 6, 7, 8, 9, 2], [0, 2], [0, *range(10, 27), 80, 2], [0, 11, 2]]
HUB = "transformers:FacebookAI/roberta-base"


KINDS = {"Roberta": "RobertaModel", "XLMRoberta": "XLMRobertaModel", "Camembert": "CamembertModel"}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(family: str, kind: str, **settings: Any) -> Any:
        config = getattr(transformers, f"{family}Config")(**{**TINY, **settings})
        peer = randomise(getattr(transformers, kind)(config))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


def rows(model: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Our batch of texts, and the peer's: filled up with its id 1, with its attention mask."""
    words, longest = model.tokenizer("text"), max(map(len, IDS))
    filled = torch.tensor([row + [1] * (longest - len(row)) for row in IDS])
    return words.collate([words.read(row) for row in IDS]), {
        "input_ids": filled,
        "attention_mask": (filled != 1).long(),
    }


@pytest.mark.parametrize("family", KINDS)
def test_tokens_and_pooler_of_mixed_lengths_are_the_peers(saved, same, parity, family):
    peer, spec = saved(family, KINDS[family])
    model = unimodal.load(spec)
    batch, given = rows(model)
    with torch.inference_mode():
        theirs, real = peer(**given), given["attention_mask"].bool()
        for ours, row, mask in zip(model(batch).split(), theirs.last_hidden_state, real, strict=True):
            same(ours, row[mask])
        parity("RoBERTa", "text", HUB, model.embed(batch), theirs.pooler_output)


def test_the_table_has_a_place_for_each_token_and_none_for_the_filling(saved):
    peer, spec = saved("Roberta", "RobertaModel")
    loaded, info = load_with_info(spec)
    model: Any = loaded
    assert model.tokenizer("text").context == 20
    assert info.card["conversion"]["folded"] == 48 * (1 + 2)  # a token type, and the places before the first token
    assert sum(p.numel() for p in model.parameters()) + 48 * 3 == sum(p.numel() for p in peer.parameters())


def test_the_head_of_pre_training_is_set_aside_and_the_first_token_is_read(saved, same):
    peer, spec = saved("Roberta", "RobertaForMaskedLM")
    loaded, info = load_with_info(spec)
    model: Any = loaded
    batch, given = rows(model)
    with torch.inference_mode():
        same(model.embed(batch), peer.roberta(**given).last_hidden_state[:, 0])
    aside = info.card["conversion"]["set aside"]
    assert aside
    assert all(name.startswith("lm_head.") for name in aside)


def test_logits_of_the_classifier_are_the_peers(saved, same):
    peer, spec = saved("Roberta", "RobertaForSequenceClassification", num_labels=5)
    model = unimodal.load(spec)
    batch, given = rows(model)
    same(model.embed(batch), peer(**given).logits)
