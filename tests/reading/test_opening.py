"""Any source becomes a stream or an error that names it."""

import io
from contextlib import ExitStack

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading.opening import open_stream, source_name


def content(source):
    with ExitStack() as files:
        return open_stream(source, files, what="a thing", also="an array").read()


def test_paths_bytes_and_files_give_their_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    for source in (tmp_path / "file", str(tmp_path / "file"), b"abc", bytearray(b"abc"), io.BytesIO(b"abc")):
        assert content(source) == b"abc"


def test_a_file_that_was_opened_here_is_closed(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    with ExitStack() as files:
        stream = open_stream(tmp_path / "file", files, what="a thing")
    assert stream.closed


def test_what_cannot_be_opened_is_named(tmp_path):
    for source, cause in (
        (tmp_path / "gone", "gone: does not exist"),
        (tmp_path, "is a directory; give a file in it"),
        ("a\0b", "cannot be opened"),
        (3.5, r"cannot be read as a thing \(it is a float\); give a path, an array, bytes or a binary file object"),
        (io.StringIO("abc"), "is a file opened as text; open it with mode 'rb'"),
    ):
        with pytest.raises(InputError, match=cause):
            content(source)


def test_sources_have_names():
    assert source_name(b"abc") == "3 bytes"
    assert source_name(np.zeros((2, 3))) == "array (2, 3)"
