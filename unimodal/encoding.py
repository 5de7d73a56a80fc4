"""Encoding: strings as ids and back, by bytes, by CLIP's byte pairs, or by a published tokenizer's own files.

Source: bytes: Xue et al. 2021, arXiv:2105.13626, sec. 3.1 (three special ids, then the 256 bytes); byte pairs:
Sennrich et al. 2016, arXiv:1508.07909; CLIP's table: Radford et al. 2021, arXiv:2103.00020, sec. 2.4.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, Protocol

from unimodal.errors import InputError, MissingExtraError

__all__ = ["BYTES", "Encoded", "Encoding", "encoding_named"]

BYTES = 259  # rows of the table: padding 0, end 1, unknown 2, then byte b at b + 3
_SHIFT, _END = 3, 1
_CHARACTERS = 64  # a token is seldom longer: a text is tried with this many characters a token first


@dataclass(frozen=True)
class Encoded:
    """A text as ids.

    Args:
        ids: At most as many as the context has places.
        taken: How many characters of the text they stand for.
        spans: (start, end) of each in characters, or None where the encoder does not say.
    """

    ids: list[int]
    taken: int
    spans: tuple[tuple[int, int], ...] | None = None


class Encoding(Protocol):
    """Text to ids and back."""

    def encode(self, text: str, context: int) -> Encoded:
        """At most ``context`` ids, start and end among them."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text, without start, end and filling."""
        ...


@cache
def encoding_named(name: str) -> Encoding:
    """The encoding ``bytes``, ``clip_bpe``, or ``transformers:`` with a folder or hub id.

    Raises:
        InputError: the files of a published tokenizer cannot be loaded.
        MissingExtraError: the encoding's library is not installed.
    """
    if name == "bytes":
        return _Bytes()
    if name == "clip_bpe":
        try:
            from open_clip.tokenizer import SimpleTokenizer
        except ImportError as error:
            raise MissingExtraError("open_clip_torch", "converters") from error
        return _BytePairs(SimpleTokenizer())
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "converters") from error
    place = name.removeprefix("transformers:")
    try:
        words = AutoTokenizer.from_pretrained(place)
    except Exception as error:  # what parsers of damaged files raise is not written down anywhere
        raise InputError(place, f"its text tokenizer cannot be loaded ({error})") from error
    return _Files(words)


class _Bytes:
    """UTF-8, one id a byte, and the end; a text that is too long is cut behind a whole character."""

    def encode(self, text: str, context: int) -> Encoded:
        spans: list[tuple[int, int]] = []
        ids: list[int] = []
        for i, character in enumerate(text):
            given = character.encode()
            if len(ids) + len(given) >= context:
                break
            ids += [byte + _SHIFT for byte in given]
            spans += [(i, i + 1)] * len(given)
        taken = spans[-1][1] if spans else 0
        return Encoded([*ids, _END], taken, (*spans, (taken, taken)))

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i - _SHIFT for i in ids if _SHIFT <= i < BYTES).decode("utf-8", errors="replace")


class _BytePairs:
    """open_clip's table: lower case, white space as one blank."""

    def __init__(self, words: Any) -> None:
        self.words = words

    def encode(self, text: str, context: int) -> Encoded:
        room, ids = context - 2, []
        for start in _starts(text, context):
            ids = self.words.encode(start)
            if len(ids) > room:
                break
        taken = len(text)
        if len(ids) > room:
            ids = ids[:room]
            taken = _behind(text, sum(not c.isspace() for c in self.words.decode(ids)))
        return Encoded([self.words.sot_token_id, *ids, self.words.eot_token_id], taken)

    def decode(self, ids: Sequence[int]) -> str:
        ends = (self.words.sot_token_id, self.words.eot_token_id)
        return self.words.decode([i for i in ids if i not in ends]).strip()


class _Files:
    """A tokenizer that transformers reads. It keeps how to cut as a state of its own, hence the lock."""

    def __init__(self, words: Any) -> None:
        self.words, self.lock = words, Lock()

    def encode(self, text: str, context: int) -> Encoded:
        known = bool(getattr(self.words, "is_fast", False))
        settings: dict[str, Any] = {"truncation": True, "max_length": context, "padding": False}
        if known:
            settings["return_offsets_mapping"] = True
        given: Any = {}
        for start in _starts(text, context):
            with self.lock:
                given = self.words(start, **settings)
            if len(given["input_ids"]) >= context:
                break
        ids = list(given["input_ids"])
        if not known:
            return Encoded(ids, len(text))
        spans = tuple((int(a), int(b)) for a, b in given["offset_mapping"])
        taken = len(text) if len(ids) < context else max(end for _, end in spans)
        return Encoded(ids, taken, spans)

    def decode(self, ids: Sequence[int]) -> str:
        return self.words.decode(list(ids), skip_special_tokens=True)


def _starts(text: str, context: int) -> Iterator[str]:
    """Longer and longer beginnings that end between words, and the whole text last: a book is not encoded for a line.

    All of these encoders split at white space first, so the ids of a beginning begin the ids of the text.
    """
    length = _CHARACTERS * context
    while length < len(text):
        blank = re.compile(r"\s").search(text, length)
        if blank is None:
            break
        yield text[: blank.start()]
        length *= 4
    yield text


def _behind(text: str, count: int) -> int:
    """Where the first ``count`` characters that are no white space end."""
    for i, character in enumerate(text):
        count -= not character.isspace()
        if count <= 0:
            return i + 1
    return len(text)
