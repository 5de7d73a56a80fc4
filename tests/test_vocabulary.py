"""A vocabulary: its texts, its lookup, what it refuses."""

import pytest
import torch

from unimodal.errors import InputError
from unimodal.tokenizers.text import Text
from unimodal.vocabulary import Vocabulary


def text() -> Text:
    return Text(4, vocabulary=20, encoding="clip_bpe", causal=False)


def test_each_word_is_a_text_of_its_own_with_the_end_behind_it():
    made = Vocabulary(text(), [7, 3, 11], blank=19, end=1)
    assert torch.equal(made.words.data, torch.tensor([[7, 1], [3, 1], [11, 1]]))
    assert len(made) == 3
    assert torch.equal(Vocabulary(text(), [7, 3], blank=19).words.data, torch.tensor([[7], [3]]))


def test_ids_are_found_among_the_words():
    made = Vocabulary(text(), [7, 3, 11], blank=19, end=1)
    assert made.places(torch.tensor([[3, 1], [7, 11], [19, 0]])).tolist() == [[1, -1], [0, 2], [-1, -1]]


def test_wrong_requests_raise():
    for ids in ([], [3, 3]):
        with pytest.raises(ValueError, match="different ids of words"):
            Vocabulary(text(), ids, blank=19)
    for blank in (20, -1, 3):
        with pytest.raises(ValueError, match="an id below 20 that is no word"):
            Vocabulary(text(), [3], blank=blank)
    with pytest.raises(InputError, match="outside the vocabulary of 20"):
        Vocabulary(text(), [3, 20], blank=19)
