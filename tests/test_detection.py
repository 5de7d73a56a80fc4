"""A file's modality is seen from its name and content, or the user is told to say it."""

from types import SimpleNamespace

import pytest

from unimodal.catalog import catalog
from unimodal.detection import modality_of
from unimodal.errors import InputError


@pytest.fixture
def readers(monkeypatch):
    """Only the tokenizers that a test names, as (suffixes, claims or None)."""

    def readers(**given):
        made = {}
        for name, (suffixes, claims) in given.items():
            made[name] = SimpleNamespace(suffixes=suffixes, **({"claims": claims} if claims else {}))
        monkeypatch.setattr(catalog("tokenizers"), "usable", lambda: made)

    return readers


def starts(word):
    return lambda path: 0.9 if path.is_file() and path.read_bytes().startswith(word) else 0.1


def test_a_suffix_that_one_tokenizer_lists_decides(readers, tmp_path):
    readers(sound=((".wav",), None), picture=((".png",), None))
    (tmp_path / "a.WAV").touch()
    assert modality_of(tmp_path / "a.WAV") == "sound"


def test_among_several_the_surest_is_taken(readers, tmp_path):
    readers(series=((".csv",), starts(b"time")), table=((".csv",), None))
    for name, content, expected in (("a.csv", b"time,x", "series"), ("b.csv", b"name,x", "table")):
        (tmp_path / name).write_bytes(content)
        assert modality_of(tmp_path / name) == expected


def test_without_a_known_suffix_only_the_content_speaks(readers, tmp_path):
    readers(volume=((".dcm",), starts(b"DICM")), picture=((".png",), None))
    for name, content in (("IM0001", b"DICM..."), ("scan.000", b"DICM...")):
        (tmp_path / name).write_bytes(content)
        assert modality_of(tmp_path / name) == "volume"
    (tmp_path / "other.xyz").write_bytes(b"....")
    words = "no tokenizer knows a file ending in '.xyz'; say what it is: volume, picture"
    with pytest.raises(InputError, match=words):
        modality_of(tmp_path / "other.xyz")


def test_a_folder_is_taken_by_who_claims_it(readers, tmp_path):
    readers(volume=((".dcm",), lambda path: 0.9 * path.is_dir()), picture=((".png",), None))
    assert modality_of(tmp_path) == "volume"
    readers(picture=((".png",), None))
    with pytest.raises(InputError, match="no tokenizer knows a folder"):
        modality_of(tmp_path)


def test_a_tie_is_told(readers, tmp_path):
    readers(one=((".bin",), None), two=((".bin",), None))
    (tmp_path / "a.bin").touch()
    with pytest.raises(InputError, match="may be one or two; say which"):
        modality_of(tmp_path / "a.bin")
    assert modality_of(tmp_path / "a.bin", among=["two"]) == "two"


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="gone: does not exist"):
        modality_of(tmp_path / "gone")
