"""Texts become ids, ids become tokens, and batches keep what belongs to whom."""

from typing import Any

import pytest
import torch

from unimodal.catalog import catalog
from unimodal.errors import InputError, MissingExtraError
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.last_token import LastToken
from unimodal.recipes.pre_norm import pre_norm

Text = catalog("tokenizers")["text"]


def text(**settings):
    return Text(8, **{"vocabulary": 30, "context": 6, **settings})


def test_each_token_is_its_row_of_the_table():
    words = text()
    tokens = words(words.collate([words.read([3, 9]), words.read([7, 2])]))
    assert torch.equal(tokens.x, words.table.weight[torch.tensor([[3, 9], [7, 2]])])
    assert (tokens.side.grid, tokens.side.modality, tokens.side.causal) == ((2,), "text", True)
    assert tokens.side.lengths is None


def test_texts_of_different_lengths_are_padded_and_say_how_long_they_are():
    words = text(causal=False)
    batch = words.collate([words.read(ids) for ids in ([3], [4, 5, 6])])
    side = words(batch).side
    assert batch.data.tolist() == [[3, 0, 0], [4, 5, 6]]
    assert side.lengths.tolist() == [1, 3]
    assert not side.causal


def test_a_tower_that_sees_its_filling_always_has_the_whole_context():
    words = text(pad=1)
    sample = words.read([3, 4])
    batch = words.collate([sample])
    assert batch.data.tolist() == [[3, 4, 1, 1, 1, 1]]
    assert sample.cost == 6
    assert words(batch).side.lengths is None


@pytest.mark.parametrize("causal", [True, False])
def test_a_text_gives_the_same_alone_and_in_a_batch(causal):
    model = Model(
        8,
        tokenizers={"text": Part(Text, vocabulary=30, context=6, causal=causal)},
        positions={"text": Part(Learned, grid=(6,), resample=False)},
        transformer=pre_norm(depth=2, heads=2, hidden=16),
        readout=Part(LastToken, width=5),
    ).double()
    words: Any = model.tokenizer("text")
    samples = [words.read(ids) for ids in ([3, 4, 5, 6, 7, 8], [9], [2, 1, 2])]
    together = model.embed(words.collate(samples))
    alone = torch.cat([model.embed(words.collate([sample])) for sample in samples])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_a_string_has_start_and_end_and_is_cut_to_the_context():
    pytest.importorskip("open_clip")
    words = Text(8, context=5)
    assert words.read("cat").data.tolist() == [49406, 2368, 49407]
    long = words.read("cat " * 9).data.tolist()
    assert long == [49406, 2368, 2368, 2368, 49407]


def test_a_folder_of_tokenizer_files_is_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    table = {"[UNK]": 0, "a": 1, "cat": 2, "dog": 3}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]").save_pretrained(tmp_path)
    words = text(encoding=f"transformers:{tmp_path}")
    assert words.read("a dog cat").data.tolist() == [1, 3, 2]
    assert words.read("a " * 20).data.tolist() == [1] * 6


def test_a_folder_without_tokenizer_files_is_named(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=f"{tmp_path}: its text tokenizer cannot be loaded"):
        text(encoding=f"transformers:{tmp_path}").read("a cat")


@pytest.mark.parametrize(
    "source, cause",
    [
        (3.5, "a float is no text"),
        ([1.5], "a list is no text"),
        ([], "0 tokens; give 1 to 6"),
        ([1] * 7, "7 tokens; give 1 to 6"),
        ([1, 30], "the id 30 is outside the vocabulary of 30"),
        ([-1], "the id -1 is outside"),
    ],
)
def test_what_is_no_text_is_refused(source, cause):
    with pytest.raises(InputError, match=cause):
        text().read(source)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        text().collate([])


@pytest.mark.parametrize(
    "settings, cause",
    [({"encoding": "gpt2"}, "encoding must be"), ({"context": 1}, "context must be"), ({"pad": 30}, "pad must be")],
)
def test_wrong_settings_are_refused(settings, cause):
    with pytest.raises(ValueError, match=cause):
        text(**settings)


@pytest.mark.parametrize("encoding, package", [("clip_bpe", "open_clip_torch"), ("transformers:x/y", "transformers")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch, encoding, package):
    import sys

    for name in ("open_clip", "open_clip.tokenizer", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed.*unimodal\[converters\]"):
        text(encoding=encoding, context=3).read("a cat")
