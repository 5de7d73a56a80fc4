"""Words as names and values."""

import pytest

from unimodal.setting_word import setting_word


@pytest.mark.parametrize(
    "word, found",
    [
        ("rate=0.1", ("rate", 0.1)),
        ("horizons=[24,48]", ("horizons", (24, 48))),
        ("kind=mean", ("kind", "mean")),
        ("scale=null", ("scale", None)),
        ("word=a=b", ("word", "a=b")),
    ],
)
def test_values_are_json_if_they_can_be_and_words_else(word, found):
    assert setting_word(word, "--option") == found


def test_a_word_without_a_value_is_refused():
    with pytest.raises(ValueError, match="--option takes NAME=VALUE, not 'rate'"):
        setting_word("rate", "--option")
