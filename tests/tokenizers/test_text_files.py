"""Text files of any coding are read, and what is no text is refused by name."""

import io
import os
from pathlib import Path

import pytest

from unimodal.catalog import catalog
from unimodal.errors import InputError

Text = catalog("tokenizers")["text"]
SENTENCE = "Zwölf Boxkämpfer – jagen\nViktor, für 3 €."

CODINGS = {
    "utf-8": SENTENCE.encode(),
    "utf-8 with a mark": SENTENCE.encode("utf-8-sig"),
    "utf-16 little": b"\xff\xfe" + SENTENCE.encode("utf-16-le"),
    "utf-16 big": b"\xfe\xff" + SENTENCE.encode("utf-16-be"),
    "utf-16 without a mark": SENTENCE.encode("utf-16-le"),
    "utf-16 big without a mark": SENTENCE.encode("utf-16-be"),
    "utf-32": SENTENCE.encode("utf-32"),
    "Windows-1252": SENTENCE.encode("cp1252"),
    "line ends of Windows": SENTENCE.replace("\n", "\r\n").encode(),
    "line ends of old Macs": SENTENCE.replace("\n", "\r").encode(),
    "cut within its last character": (SENTENCE + "é").encode()[:-1],
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_file_of_any_coding_is_the_same_text(tmp_path, coding):
    path = tmp_path / "a.txt"
    path.write_bytes(CODINGS[coding])
    words = Text(4, encoding="bytes")
    with path.open("rb") as file:
        samples = [words.read(source) for source in (path, CODINGS[coding], file, io.BytesIO(CODINGS[coding]))]
    for sample in samples:
        assert words.decode(sample.data) == SENTENCE
        assert sample.record.whole
    assert samples[0].source == str(path)


def test_a_string_that_names_a_file_stays_a_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("the content", encoding="utf-8")
    words = Text(4, encoding="bytes")
    assert words.decode(words.read("a.txt").data) == "a.txt"
    assert words.decode(words.read(Path("a.txt")).data) == "the content"
    with open("a.txt", encoding="utf-8") as file:
        assert words.decode(words.read(file).data) == "the content"


BAD = {
    "empty": (b"", r"is empty \(0 bytes\); a text has at least one character"),
    "white space": (b" \n\t \r\n", r"holds only white space \(5 characters\)"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", r"is no text \(it holds NUL bytes and begins with b'.x89PNG"),
    "control characters": (b"ab\x01\x02\x03cd\x05" * 9, r"is no text \(36 control or undefined characters"),
    "half a word of UTF-16": (b"\xff\xfea\x00b", r"is no text \(damaged utf-16-le: truncated data at byte 4\)"),
    "a lone surrogate of UTF-16": (b"\xff\xfe\x00\xd8a\x00", r"is no text \(damaged utf-16-le: illegal"),
    "noise": (bytes((97 * i * i + 13 * i) % 255 + 1 for i in range(999)), "is no text"),
    "only a mark": (b"\xef\xbb\xbf", r"holds only white space \(0 characters\)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_no_text_is_refused_by_name(tmp_path, kind):
    content, cause = BAD[kind]
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.txt: {cause}"):
        Text(4, encoding="bytes").read(tmp_path / "bad.txt")


def test_what_cannot_be_opened_is_refused_by_name(tmp_path):
    words = Text(4, encoding="bytes")
    with pytest.raises(InputError, match=r"gone\.txt: does not exist"):
        words.read(tmp_path / "gone.txt")
    with pytest.raises(InputError, match="is a directory; give a file in it"):
        words.read(tmp_path)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InputError, match="is not a regular file"):
        words.read(tmp_path / "pipe.txt")
    with (tmp_path / "latin.txt").open("wb") as file:
        file.write(b"caf\xe9 au lait")
    with (
        open(tmp_path / "latin.txt", encoding="utf-8") as file,
        pytest.raises(InputError, match=r"latin\.txt: cannot be read \(UnicodeDecodeError"),
    ):
        words.read(file)


def test_words_are_claimed_and_numbers_and_pictures_are_not(tmp_path):
    files = {
        "words": SENTENCE.encode("cp1252"),
        "numbers": b"1.5, 2.5\n3, 4\n",
        "picture": b"\x89PNG\x00\x00",
        "none": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert [Text.claims(tmp_path / name) for name in (*files, "gone")] == [0.9, 0.3, 0.0, 0.0, 0.0]
