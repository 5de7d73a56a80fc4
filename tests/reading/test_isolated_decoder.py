"""gdcm in a process of its own: the same pixels, from several threads, and nothing that it does ends this process."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading import isolated_decoder
from unimodal.reading.isolated_decoder import decode_isolated
from unimodal.tokenizers.ct import CT
from unimodal.tokenizers.xray import XRay

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("gdcm")
FILES = Path(pydicom.data.__file__).parent / "test_files"


def opened(name: str):
    return pydicom.dcmread(FILES / name)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm", "JPEGLSNearLossless_16.dcm"])
def test_the_pixels_are_those_that_gdcm_gives_here(name):
    assert np.array_equal(decode_isolated(opened(name)), opened(name).pixel_array)


def test_several_threads_get_each_its_own():
    names = ["MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_08.dcm", "SC_rgb_jls_lossy_line.dcm"] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: decode_isolated(opened(name)), names))
    for name, values in zip(names, found, strict=True):
        assert np.array_equal(values, opened(name).pixel_array)


@pytest.mark.parametrize("at, value", [(3, 255), (17, 255), (38, 0)])
def test_damage_that_ends_gdcm_is_an_error_and_the_next_object_is_read(at, value, capfd):
    """Single bytes of the stream's first segments: gdcm 3.2 answers these with a call of abort()."""
    content = (FILES / "SC_rgb_jpeg_gdcm.dcm").read_bytes()
    damaged = bytearray(content)
    damaged[content.index(b"\xff\xd8") + at] = value
    with pytest.raises(InputError, match="cannot be decoded: ValueError: .*; export it uncompressed"):
        XRay(8).read(bytes(damaged))
    assert capfd.readouterr() == ("", "")
    assert XRay(8).read(content).data.shape == (1, 96, 96)


def test_a_child_that_is_gone_is_replaced():
    data = opened("MR_small_jpeg_ls_lossless.dcm")
    before = decode_isolated(data)
    isolated_decoder._children[os.getpid()].kill()
    isolated_decoder._children[os.getpid()].wait()
    assert np.array_equal(decode_isolated(data), before)


def test_nothing_of_the_patient_is_passed_on(monkeypatch):
    sent = []

    class Spy:
        def __init__(self, stream):
            self.stream = stream

        def write(self, content):
            sent.append(content)
            return self.stream.write(content)

        def __getattr__(self, name):
            return getattr(self.stream, name)

    data = opened("MR_small_jpeg_ls_lossless.dcm")
    data.PatientName = "Doe^Jane"
    decode_isolated(data)
    child = isolated_decoder._children[os.getpid()]
    monkeypatch.setattr(child, "stdin", Spy(child.stdin))
    decode_isolated(data)
    assert sent
    assert b"Doe" not in b"".join(sent)


def test_a_scan_in_lossless_jpeg_is_read_through_it():
    one, other = (CT(8).read(FILES / n) for n in ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"))
    assert one.data.equal(other.data)
