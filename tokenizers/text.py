"""Text: strings and text files as tokens of bytes, byte pairs or word pieces, one learned vector each.

Source: bytes: Xue et al. 2021, arXiv:2105.13626, sec. 3.1; byte pairs: Sennrich et al. 2016, arXiv:1508.07909; start
and end tokens, 76 in between, causal order: Radford et al. 2021, arXiv:2103.00020, sec. 2.4; filled to 64 tokens: Zhai
et al. 2023, arXiv:2303.15343, sec. 3.
Axes: B texts, N tokens, D width.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.encoding import BYTES, Encoding, encoding_named
from unimodal.errors import InputError
from unimodal.reading.opening import source_name, told
from unimodal.reading.plain_text import TextRecord, decoded, read_text
from unimodal.sample import Batch, Sample
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["Text"]


class Text(nn.Module):
    """x_n = table[id_n]; positions come from the model's position part.

    A batch is as long as its longest text: behind the end token a causal tower changes nothing, so what peers fill
    up to their context is not computed here. A tower that was trained to see the filling says so with ``pad``.

    A string is a text, whatever it says. A file is named by a path object (``Path("a.txt")``), or given as bytes or
    an open file; its line ends become "\\n". Texts that do not fit the context are cut, and the record says behind
    which character.

    Args:
        dim: Width D.
        vocabulary: Rows of the table; None for as many as the encoding has (259 of ``bytes``, else 49408).
        context: Most tokens of a text, with start and end; longer ones are cut and still end with the end token.
            None for 512 with ``bytes``, else 77.
        encoding: ``clip_bpe`` (OpenAI's table, which open_clip ships), ``bytes`` (UTF-8, which needs no files and no
            packages), or ``transformers:`` and a folder or hub id with a tokenizer's files. It is looked up when the
            first string is read, not before.
        causal: Whether each token sees only those before it.
        pad: Id that fills every text up to ``context`` and counts as content, or None.

    Shapes:
        forward: ids (B, N), with batch.extra["lengths"] (B,) if texts have different lengths;  returns (B, N, D).

    Raises:
        ValueError: an unknown encoding, ``context`` below 2, or ``pad`` or the bytes outside the vocabulary.
        InputError: :meth:`read` gets no text, a file that cannot be opened, is empty or is no text, no ids, too many,
            or one outside the vocabulary.
        MissingExtraError: the encoding's library is not installed.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".text", ".md", ".markdown", ".rst", ".log")
    variable: ClassVar[Mapping[str, Any]] = MappingProxyType({"encoding": "bytes", "causal": False})

    def __init__(
        self,
        dim: int,
        *,
        vocabulary: int | None = None,
        context: int | None = None,
        encoding: str = "clip_bpe",
        causal: bool = True,
        pad: int | None = None,
    ) -> None:
        super().__init__()
        if encoding not in ("bytes", "clip_bpe") and not encoding.startswith("transformers:"):
            allowed = "'bytes', 'clip_bpe' or 'transformers:<folder or hub id>'"
            raise ValueError(f"encoding must be {allowed}, not {encoding!r}")
        vocabulary = vocabulary if vocabulary is not None else BYTES if encoding == "bytes" else 49408
        context = context if context is not None else 512 if encoding == "bytes" else 77
        if encoding == "bytes" and vocabulary < BYTES:
            raise ValueError(f"vocabulary must be at least {BYTES} (256 bytes and 3 others), not {vocabulary}")
        if context < 2:
            raise ValueError(f"context must be at least 2 (start and end), not {context}")
        if pad is not None and not 0 <= pad < vocabulary:
            raise ValueError(f"pad must be an id below {vocabulary}, not {pad}")
        self.context, self.encoding, self.causal, self.pad = context, encoding, causal, pad
        self.table = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.table.weight, std=0.02)

    @staticmethod
    def claims(path: Path) -> float:
        """High for a file that begins with words, low for one with columns of numbers."""
        try:
            with path.open("rb") as file:
                text, coding = decoded(file.read(4096), whole=False)
        except OSError:
            return 0.0
        seen = [c for c in text if not c.isspace()]
        if coding is None or not seen:
            return 0.0
        return 0.9 if sum(c.isalpha() for c in seen) > 0.6 * len(seen) else 0.3

    @staticmethod
    def examples() -> list[str]:
        """Texts of several alphabets and lengths."""
        return [
            "One line.",
            "Zwölf Boxkämpfer jagen Viktor\nüber den Sylter Deich.",
            "Ταχύς",
            "雪 and 🙂 take several bytes.",
        ]

    def read(self, source: Any) -> Sample:
        """A string, a text file (a path object, bytes, an open file), or ids that are final already."""
        record = None
        if (text := _text(source)) is not None:
            name, content, coding, whole = text
            given = self._encoding().encode(content, self.context)
            ids, record = given.ids, TextRecord(len(content), given.taken, coding, whole, given.spans)
        else:
            name, ids = "ids", source.tolist() if hasattr(source, "tolist") else source
            if not isinstance(ids, Sequence) or not all(type(i) is int for i in ids):
                remedy = "give a string, a list of ids, or a file as a pathlib.Path, bytes or open file"
                raise InputError(name, f"a {type(source).__name__} is no text", remedy)
        if not 1 <= len(ids) <= self.context:
            raise InputError(name, f"{len(ids)} tokens", f"give 1 to {self.context}")
        if bad := [i for i in ids if not 0 <= i < self.table.num_embeddings]:
            raise InputError(name, f"the id {bad[0]} is outside the vocabulary of {self.table.num_embeddings}")
        cost = self.context if self.pad is not None else len(ids)
        return Sample("text", torch.tensor(ids), name, record, cost, source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Rows of one length, filled with ``pad`` or with id 0 behind ``extra["lengths"]``.

        Raises:
            ValueError: there are no samples.
        """
        if not samples:
            raise ValueError("samples is empty: a batch has at least one")
        rows = [sample.data for sample in samples]
        return self._batch(rows, tuple(sample.record for sample in samples))

    def forward(self, batch: Batch) -> Tokens:
        ids, lengths, grids = batch.data, batch.extra.get("lengths"), batch.extra.get("grids")
        if not isinstance(ids, Tensor) or ids.ndim != 2:
            raise ValueError("a text batch holds ids of shape (texts, tokens): use collate")
        grid = (ids.shape[1],) if grids is None else None
        side = Side(grid=grid, grids=grids, modality="text", causal=self.causal, lengths=lengths)
        return Tokens(self.table(ids), side)

    def detokenize(self, tokens: Tokens) -> Batch:
        """The ids whose rows of the table are nearest; :meth:`decode` makes a string of one row."""
        table_VD = self.table.weight.float()
        return self._batch([torch.cdist(x_ND.float(), table_VD).argmin(-1) for x_ND in tokens.lattice().split()])

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of ids, without start, end and filling.

        Raises:
            InputError, MissingExtraError: as :meth:`read`.
        """
        return self._encoding().decode(ids.tolist() if isinstance(ids, Tensor) else list(ids))

    def _encoding(self) -> Encoding:
        return encoding_named(self.encoding)

    def _batch(self, rows: list[Tensor], records: tuple[Any, ...] = ()) -> Batch:
        lengths = [len(row) for row in rows]
        even = self.pad is not None or len(set(lengths)) == 1
        ids = torch.full((len(rows), self.context if self.pad is not None else max(lengths)), self.pad or 0)
        for filled, row in zip(ids, rows, strict=True):
            filled[: len(row)] = row
        extra = {} if even else {"lengths": torch.tensor(lengths), "grids": tuple((n,) for n in lengths)}
        return Batch("text", ids, records, extra)


def _text(source: Any) -> tuple[str, str, str, bool] | None:
    """(name, text, coding, whether it is all of the file), or None for what is neither a string nor a file."""
    if isinstance(source, str):
        name, text, coding, whole = repr(source if len(source) < 40 else source[:40]), source, "", True
    elif isinstance(source, io.TextIOBase):
        name, coding, whole = source_name(source), "", True
        try:
            text = source.read()
        except (OSError, ValueError) as error:
            raise InputError(name, f"cannot be read ({told(error)})") from error
    elif isinstance(source, os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read"):
        name = source_name(source)
        text, coding, whole = read_text(source)
    else:
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise InputError(name, f"half a surrogate pair ({half!r}) is no character", "give whole characters") from None
    return name, text, coding, whole
