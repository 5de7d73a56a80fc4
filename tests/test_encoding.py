"""Encodings: long texts are not encoded whole, and what a tokenizer's own files say is kept."""

import pytest

from unimodal.encoding import encoding_named
from unimodal.errors import InputError


class Counting:
    """An encoder that says how much it was given: one id a word."""

    sot_token_id, eot_token_id = 1, 2

    def __init__(self):
        self.given = 0

    def encode(self, text):
        self.given += len(text)
        return [len(word) for word in text.split()]

    def decode(self, ids):
        return " ".join("x" * i for i in ids)


def test_a_book_is_not_encoded_for_a_line():
    from unimodal.encoding import _BytePairs

    counting = Counting()
    found = _BytePairs(counting).encode("seven words in a line of text " * 100_000, 7)
    assert found.ids == [1, 5, 5, 2, 1, 4, 2]
    assert found.taken == len("seven words in a line")
    assert counting.given < 1000


def test_long_words_make_it_look_further():
    from unimodal.encoding import _BytePairs

    long = " ".join("x" * 500 for _ in range(9))
    assert _BytePairs(Counting()).encode(long, 7).ids == [1, *[500] * 5, 2]
    assert _BytePairs(Counting()).encode("x" * 9000, 7).ids == [1, 9000, 2]


@pytest.fixture
def folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    table = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "cat": 3, "dog": 4, "##s": 5}
    model = tokenizers.Tokenizer(tokenizers.models.WordPiece(table, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=model, **names).save_pretrained(tmp_path)
    return tmp_path


def test_a_published_tokenizer_says_which_characters_its_tokens_are(folder):
    found = encoding_named(f"transformers:{folder}").encode("cats  dog", 9)
    assert found.ids == [1, 3, 5, 4, 2]
    assert found.spans == ((0, 0), (0, 3), (3, 4), (6, 9), (0, 0))
    assert found.taken == 9


def test_a_cut_by_a_published_tokenizer_says_how_many_characters_were_taken(folder):
    encoding = encoding_named(f"transformers:{folder}")
    found = encoding.encode("cats  dog " * 500, 5)
    assert (found.ids, found.taken) == ([1, 3, 5, 4, 2], 9)
    assert encoding.decode(found.ids) == "cat ##s dog"


def test_damaged_files_are_named(folder):
    (folder / "tokenizer.json").write_text("{]")
    with pytest.raises(InputError, match="its text tokenizer cannot be loaded"):
        encoding_named(f"transformers:{folder}")
