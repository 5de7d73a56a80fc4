"""transformers' GPT-Neo, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info
from unimodal.sample import Batch

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::UserWarning")]
TINY = {"hidden_size": 48, "num_layers": 4, "num_heads": 3, "vocab_size": 90, "max_position_embeddings": 64}
TINY |= {"attention_types": [[["global"], 2], [["local"], 2]], "window_size": 7, "bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(**settings: Any) -> Any:
        peer = randomise(transformers.GPTNeoForCausalLM(transformers.GPTNeoConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("settings", [{}, {"attention_types": [[["global", "local"], 2]]}, {"intermediate_size": 100}])
def test_tokens_and_logits_of_mixed_layers_are_the_peers(saved, same, parity, settings):
    peer, spec = saved(**settings)
    model = unimodal.load(spec)
    ids = torch.randint(90, (2, 50))
    with torch.inference_mode():
        tokens = model(Batch("text", ids)).x
        same(tokens, peer.transformer(ids).last_hidden_state)
        logits = tokens @ model.tokenizer("text").table.weight.T
        parity("GPT-Neo", "text", "transformers:EleutherAI/gpt-neo-1.3B", logits, peer(ids).logits)


def test_every_published_parameter_is_converted_and_none_added(saved):
    peer, spec = saved()
    _, info = load_with_info(spec)
    account = info.card["conversion"]
    assert account["converted"] == {"text": sum(p.numel() for p in peer.parameters())}
    assert (account["folded"], account["added"]) == (0, 0)


def test_an_output_of_its_own_is_refused(saved):
    _, spec = saved(tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match="tie_word_embeddings is False"):
        unimodal.load(spec)


def test_an_unknown_kind_of_layer_is_refused(saved):
    from dataclasses import replace

    from unimodal.converters.gpt_neo_transformers import gpt_neo_transformers
    from unimodal.published.transformers import read

    _, spec = saved()
    published = read(spec.partition(":")[2])
    strange = replace(published, config={**published.config, "attention_layers": ["global", "dilated"] * 2})
    with pytest.raises(CheckpointError, match="the attention of a layer is 'dilated'"):
        gpt_neo_transformers(strange)
