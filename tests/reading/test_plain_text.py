"""Codings are told apart, long files are cut at a character, and records say what part they speak of."""

import pytest
import torch

from unimodal.reading.plain_text import TextRecord, decoded, read_text


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-32-be"])
def test_a_file_longer_than_the_limit_is_cut_at_a_whole_character(coding):
    mark = "\ufeff".encode(coding)
    text, found, whole = read_text(mark + ("ab€" * 100).encode(coding), limit=101)
    assert (found, whole) == (coding, False)
    assert ("ab€" * 100).startswith(text)
    assert len(mark + text.encode(coding)) > 97


def test_an_accent_at_the_very_end_is_windows_and_not_a_character_cut_off():
    assert decoded("un café".encode("cp1252")) == ("un café", "cp1252")
    assert decoded("zwölf cafés, un café".encode()[:-1]) == ("zwölf cafés, un caf", "utf-8")


def test_a_log_with_colours_is_a_text():
    assert decoded(b"\x1b[31merror\x1b[0m: 3\r\n")[1] == "utf-8"


def test_without_spans_values_cannot_go_back_to_characters():
    with pytest.raises(ValueError, match="does not say which characters"):
        TextRecord(5, 5).restore(torch.zeros(3))


def test_a_value_is_needed_for_each_token():
    with pytest.raises(ValueError, match="values has 3 rows for 1 tokens"):
        TextRecord(5, 5, spans=((0, 5),)).restore(torch.zeros(3))


def test_characters_between_tokens_get_the_filling():
    record = TextRecord(4, 4, spans=((0, 0), (0, 1), (2, 4)))
    assert record.restore(torch.tensor([9.0, 1.0, 2.0]), fill=-1.0).tolist() == [1.0, -1.0, 2.0, 2.0]
