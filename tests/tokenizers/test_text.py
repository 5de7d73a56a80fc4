"""Texts become ids, ids become tokens, and batches keep what belongs to whom."""

from typing import Any

import pytest
import torch

from unimodal.catalog import catalog
from unimodal.encoding import encoding_named
from unimodal.errors import InputError, MissingExtraError
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.last_token import LastToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.testing import check_tokenizer

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
    assert side.grids == ((1,), (3,))
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
    [
        ({"encoding": "gpt2"}, "encoding must be"),
        ({"encoding": "bytes"}, "vocabulary must be at least 259"),
        ({"context": 1}, "context must be"),
        ({"pad": 30}, "pad must be"),
    ],
)
def test_wrong_settings_are_refused(settings, cause):
    with pytest.raises(ValueError, match=cause):
        text(**settings)


@pytest.mark.parametrize("encoding, package", [("clip_bpe", "open_clip_torch"), ("transformers:x/y", "transformers")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch, encoding, package):
    import sys

    for name in ("open_clip", "open_clip.tokenizer", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    encoding_named.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed.*unimodal\[converters\]"):
        text(encoding=encoding, context=3).read("a cat")


SENTENCE = "Zwölf Boxkämpfer – jagen\nViktor, für 3 €."


def test_it_keeps_the_contract_of_a_tokenizer():
    assert len(check_tokenizer("text", Text)) == 8


def test_the_published_towers_keep_their_defaults():
    words = Text(4)
    assert (words.encoding, words.context, words.causal, words.pad) == ("clip_bpe", 77, True, None)
    assert tuple(words.table.weight.shape) == (49408, 4)


def test_bytes_are_utf8_behind_three_special_ids_with_an_end():
    words = Text(4, encoding="bytes")
    assert tuple(words.table.weight.shape) == (259, 4)
    for text in ("", "a", SENTENCE, "雪🙂", "\x00\x7f\n"):
        ids = words.read(text).data.tolist()
        assert ids == [byte + 3 for byte in text.encode()] + [1]
        assert words.decode(ids) == text


def test_bytes_are_those_of_the_published_tokenizer():
    peer = pytest.importorskip("transformers").ByT5Tokenizer()
    words = Text(4, encoding="bytes")
    for text in (*Text.examples(), SENTENCE, "x" * 511):
        assert words.read(text).data.tolist() == peer(text).input_ids


@pytest.mark.parametrize("context, taken", [(2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 3), (8, 4), (9, 4)])
def test_a_long_text_is_cut_behind_a_whole_character_and_the_record_says_where(context, taken):
    text = "aé€z"  # 1, 2, 3 and 1 bytes
    sample = Text(4, encoding="bytes", context=context).read(text)
    assert (sample.record.taken, sample.record.characters) == (taken, 4)
    assert sample.data.tolist() == [byte + 3 for byte in text[:taken].encode()] + [1]


def test_values_of_tokens_come_back_as_values_of_characters():
    sample = Text(4, encoding="bytes").read("aé€z")
    back = sample.record.restore(torch.tensor([[5.0], [1.0], [2.0], [3.0], [6.0], [9.0], [7.0], [100.0]]))
    assert back[:, 0].tolist() == [5.0, 1.5, 6.0, 7.0]


def test_a_cut_by_byte_pairs_says_how_many_characters_were_taken():
    pytest.importorskip("open_clip")
    sample = Text(8, context=5).read("Cat  cat\n cat cat cat")
    assert (sample.record.taken, sample.record.characters) == (13, 21)
    assert Text(8).read("Cat  cat").record.taken == 8


def test_a_long_text_has_the_ids_of_all_of_it_encoded_at_once():
    open_clip = pytest.importorskip("open_clip")
    text = "the quick brown fox; jumps over 12 lazy dogs' antidisestablishmentarianism " * 90
    peer = open_clip.tokenizer.SimpleTokenizer()
    assert Text(8, context=7).read(text).data.tolist() == [49406, *peer.encode(text)[:5], 49407]


def test_byte_pairs_are_decoded():
    pytest.importorskip("open_clip")
    words = Text(8)
    assert words.decode(words.read("A cat, asleep").data) == "a cat , asleep"


@pytest.mark.parametrize("encoding", ["bytes", "clip_bpe"])
def test_half_a_surrogate_pair_is_refused(encoding):
    with pytest.raises(InputError, match="half a surrogate pair"):
        Text(4, encoding=encoding).read("ab\ud83d")


def test_nearest_rows_give_the_ids_back_from_any_layout():
    words = text(causal=False)
    batch = words.collate([words.read(ids) for ids in ([3], [4, 5, 6], [29])])
    tokens = words(batch)
    for given in (tokens, tokens.packed()):
        back = words.detokenize(given.replace(given.x + 1e-3))
        assert torch.equal(back.data, batch.data)
        assert torch.equal(back.extra["lengths"], batch.extra["lengths"])
