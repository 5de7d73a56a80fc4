"""Plain text: files of unknown coding as one string, and the record of which part of it became tokens.

Source: byte order marks: The Unicode Standard, sec. 23.8; UTF-8: Yergeau 2003, RFC 3629.
Axes: N tokens, C characters.
"""

import codecs
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimodal.errors import InputError
from unimodal.reading.opening import open_stream, source_name, told

__all__ = ["TextRecord", "decoded", "read_text"]

LIMIT = 1 << 24  # bytes
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BLANKS = frozenset("\t\n\r\f\v\b\x1a\x1b")  # controls that text has: layout, the colours of a log, an old end mark


@dataclass(frozen=True)
class TextRecord:
    """What part of a text its tokens stand for.

    Args:
        characters: Of the text.
        taken: How many of them, from the start, became tokens (the rest did not fit the context).
        coding: How the file was coded; "" for a text that was given as a string.
        whole: False if the file is longer than what was read of it, so that ``characters`` are not all of its own.
        spans: (start, end) in characters of each token, an empty one for start and end tokens; None if unknown.
    """

    characters: int
    taken: int
    coding: str = ""
    whole: bool = True
    spans: tuple[tuple[int, int], ...] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of it, in words."""
        of = f"{self.characters}" if self.whole else f"more than {self.characters}"
        cut = self.taken < self.characters or not self.whole
        return (f"the first {self.taken} of {of} characters were taken",) if cut else ()

    def restore(self, values: Tensor, *, fill: float = 0.0) -> Tensor:
        """Values of the tokens as values of the characters: the mean of the tokens that a character is in.

        Args:
            values: One row a token.
            fill: For characters that are in no token (white space).

        Shapes:
            values: (N, ...);  returns (C, ...) with C = ``taken``.

        Raises:
            ValueError: it is not known which characters a token stands for, or there is another number of tokens.
        """
        if self.spans is None:
            raise ValueError("this encoding does not say which characters a token stands for")
        if len(values) != len(self.spans):
            raise ValueError(f"values has {len(values)} rows for {len(self.spans)} tokens")
        total = values.new_zeros(self.taken, *values.shape[1:])
        count = values.new_zeros(self.taken, *[1] * (values.ndim - 1))
        for value, (start, end) in zip(values, self.spans, strict=True):
            total[start:end] += value
            count[start:end] += 1
        return torch.where(count > 0, total / count.clamp(min=1), fill)


def read_text(source: Any, *, limit: int = LIMIT) -> tuple[str, str, bool]:
    """The text of a file, how it was coded, and whether that is all of it.

    Line ends become "\\n". With a byte order mark the file is what the mark says; without one it is UTF-8 if it can
    be, else UTF-16 if every other byte is 0, else Windows' code page 1252.

    Args:
        source: A path, encoded bytes or a binary file object.
        limit: Most bytes that are read.

    Raises:
        InputError: it cannot be opened, has no characters but white space, or is no text.
    """
    name = source_name(source)
    with ExitStack() as files:
        stream = open_stream(source, files, what="a text")
        try:
            content = stream.read(limit + 1)
        except (OSError, ValueError) as error:
            raise InputError(name, f"cannot be read ({told(error)})") from error
    whole, content = len(content) <= limit, content[:limit]
    if not content:
        raise InputError(name, "is empty (0 bytes)", "a text has at least one character")
    text, coding = decoded(content, whole=whole)
    if coding is None:
        raise InputError(name, f"is no text ({text})", "give a file of UTF-8, UTF-16 or Windows-1252 text")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise InputError(name, f"holds only white space ({len(text)} characters)", "a text has words")
    return text, coding, whole


def decoded(content: bytes, *, whole: bool = True) -> tuple[str, str | None]:
    """(text, coding) of bytes, or (why they are no text, None).

    Args:
        content: Some bytes.
        whole: Whether the last character is whole; otherwise its bytes are left out.
    """
    mark, coding = next(((m, c) for m, c in _MARKS if content.startswith(m)), (b"", None))
    if coding is None and b"\x00" in content[:4096]:
        coding = _wide(content[:4096])
        if coding is None:
            return f"it holds NUL bytes and begins with {content[:8]!r}", None
    if coding is not None:
        try:
            return _clean(codecs.getincrementaldecoder(coding)().decode(content[len(mark) :], final=whole), coding)
        except UnicodeDecodeError as error:
            return f"damaged {coding}: {error.reason} at byte {error.start + len(mark)}", None
    try:
        return _clean(codecs.getincrementaldecoder("utf-8")().decode(content, final=whole), "utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        if len(content) - error.start < 4 and "end of data" in error.reason and not before.isascii():
            return _clean(before.decode("utf-8"), "utf-8")  # cut off within its last character
    return _clean(content.decode("cp1252", errors="replace"), "cp1252")


def _wide(start: bytes) -> str | None:
    """UTF-16 without a mark: mostly Latin letters, so one byte in two is 0, always on the same side."""
    even, odd = start[0::2], start[1::2]
    zeros = (even.count(0) / max(len(even), 1), odd.count(0) / max(len(odd), 1))
    if min(zeros) > 0.02 or max(zeros) < 0.4:
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _clean(text: str, coding: str) -> tuple[str, str | None]:
    odd = [c for c in text[:65536] if c == "\ufffd" or (c < " " and c not in _BLANKS) or "\x7f" <= c < "\xa0"]
    if text and (len(odd) > 0.02 * min(len(text), 65536) or "\x00" in odd):
        return f"{len(odd)} control or undefined characters, the first is {odd[0]!r}", None
    return text, coding
