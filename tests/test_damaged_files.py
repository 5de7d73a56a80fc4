"""Whatever a file holds, a tokenizer reads it or says what is wrong: no other error, no crash, a quiet terminal."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.inputs import WRITERS, write_inputs
from unimodal.catalog import catalog
from unimodal.errors import InputError

NAMES = [name for name in catalog("tokenizers") if catalog("tokenizers").source(name) == "unimodal"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def contents(sound: bytes | None, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """What may stand in a file: nothing, noise, words, zeros, and a sound file cut or with bytes changed."""
    yield "nothing", b""
    yield "one byte", b"\x00"
    yield "noise", draw.randbytes(2000)
    yield "zeros", bytes(4096)
    yield "words", b"these are words and nothing else\n" * 40
    yield "markup", b"<html><body>not found</body></html>"
    if sound is None:
        return
    for share in (0.02, 0.3, 0.9):
        yield f"the first {share:.0%} of a sound file", sound[: int(share * len(sound))]
    for count in (3, 30, 300):
        bent = bytearray(sound)
        for _ in range(count):
            bent[draw.randrange(len(bent) if count > 3 else min(len(bent), 400))] = draw.randrange(256)
        yield f"a sound file with {count} bytes changed", bytes(bent)


def refusal(tokenizer: Any, path: Path) -> Exception | None:
    try:
        tokenizer.read(path)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_read_or_refused_with_a_reason(files, name, tmp_path, capfd):
    cls: Any = catalog("tokenizers")[name]
    tokenizer = cls(48)
    typical = files.get({"waveform": "audio", "variates": "time_series"}.get(name, name))
    sound = typical.read_bytes() if typical is not None and typical.is_file() else None
    if typical is not None and typical.is_dir():
        sound = sorted(typical.iterdir())[0].read_bytes()
    own = typical.suffix if typical is not None and typical.is_file() else ""
    refused, draw = 0, random.Random(0)
    for suffix in dict.fromkeys([own, *cls.suffixes[:12]]):
        for what, content in contents(sound if suffix == own else None, draw):
            path = tmp_path / f"file{suffix}"
            path.write_bytes(content)
            error = refusal(tokenizer, path)
            if error is not None:
                refused += 1
                case = f"{what} in {path.name}"
                assert isinstance(error, InputError), f"{case}: {type(error).__name__}: {error}"
                assert str(path) in str(error), f"{case}: the message does not name the file: {error}"
                assert "\n" not in str(error), f"{case}: the message has several lines: {error!r}"
                assert len(str(error)) < len(str(path)) + 400, f"{case}: a long message: {error}"
            if hasattr(cls, "claims"):
                assert 0 <= cls.claims(path) <= 1, f"{what} in {path.name}: the claim is out of range"
    assert refused >= 2, "hardly anything was refused"
    out, err = capfd.readouterr()
    assert (out, err) == ("", ""), f"libraries wrote to the terminal: {(out + err)[:500]}"


def test_every_modality_of_the_inputs_has_a_tokenizer():
    assert set(WRITERS) <= set(NAMES)
