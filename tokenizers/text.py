"""Text: strings as byte-pair tokens, one learned vector each.

Source: Sennrich et al. 2016, arXiv:1508.07909 (byte-pair encoding); Radford et al. 2021, arXiv:2103.00020, sec. 2.4
(start and end tokens, 76 in between, causal order); Zhai et al. 2023, arXiv:2303.15343, sec. 3 (filled to 64 tokens).
Axes: B texts, N tokens, D width.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.errors import InputError, MissingExtraError
from unimodal.sample import Batch, Sample
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["Text"]


class Text(nn.Module):
    """x_n = table[id_n]; positions come from the model's position part.

    A batch is as long as its longest text: behind the end token a causal tower changes nothing, so what peers fill
    up to their context is not computed here. A tower that was trained to see the filling says so with ``pad``.

    Args:
        dim: Width D.
        vocabulary: Rows of the table.
        context: Most tokens of a text, with start and end; longer ones are cut and still end with the end token.
        encoding: ``clip_bpe`` (OpenAI's table, which open_clip ships) or ``transformers:`` and a folder or hub id
            with a tokenizer's files. It is looked up when the first string is read, not before.
        causal: Whether each token sees only those before it.
        pad: Id that fills every text up to ``context`` and counts as content, or None.

    Shapes:
        forward: ids (B, N), with batch.extra["lengths"] (B,) if texts have different lengths;  returns (B, N, D).

    Raises:
        ValueError: an unknown encoding, ``context`` below 2, or ``pad`` outside the vocabulary.
        InputError: :meth:`read` gets neither a string nor ids, no ids, too many, or one outside the vocabulary.
        MissingExtraError: the encoding's library is not installed.
    """

    def __init__(
        self,
        dim: int,
        *,
        vocabulary: int = 49408,
        context: int = 77,
        encoding: str = "clip_bpe",
        causal: bool = True,
        pad: int | None = None,
    ) -> None:
        super().__init__()
        if encoding != "clip_bpe" and not encoding.startswith("transformers:"):
            raise ValueError(f"encoding must be 'clip_bpe' or 'transformers:<folder or hub id>', not {encoding!r}")
        if context < 2:
            raise ValueError(f"context must be at least 2 (start and end), not {context}")
        if pad is not None and not 0 <= pad < vocabulary:
            raise ValueError(f"pad must be an id below {vocabulary}, not {pad}")
        self.context, self.encoding, self.causal, self.pad = context, encoding, causal, pad
        self.table = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.table.weight, std=0.02)

    def read(self, source: str | Sequence[int] | Tensor) -> Sample:
        """A string, or ids that are final already."""
        name = repr(source if len(source) < 40 else source[:40]) if isinstance(source, str) else "ids"
        if isinstance(source, str):
            ids = _encoder(self.encoding, self.context)(source)
        else:
            given = source.tolist() if isinstance(source, Tensor) else source
            if not isinstance(given, Sequence) or not all(type(i) is int for i in given):
                raise InputError(name, f"a {type(source).__name__} is no text", "give a string or a list of ids")
            ids = list(given)
        if not 1 <= len(ids) <= self.context:
            raise InputError(name, f"{len(ids)} tokens", f"give 1 to {self.context}")
        if bad := [i for i in ids if not 0 <= i < self.table.num_embeddings]:
            raise InputError(name, f"the id {bad[0]} is outside the vocabulary of {self.table.num_embeddings}")
        return Sample("text", torch.tensor(ids), name, None, self.context if self.pad is not None else len(ids), source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Rows of one length, filled with ``pad`` or with id 0 behind ``extra["lengths"]``.

        Raises:
            ValueError: there are no samples.
        """
        if not samples:
            raise ValueError("samples is empty: a batch has at least one")
        lengths = [len(sample.data) for sample in samples]
        width = self.context if self.pad is not None else max(lengths)
        ids = torch.full((len(samples), width), self.pad or 0)
        for row, sample in zip(ids, samples, strict=True):
            row[: len(sample.data)] = sample.data
        even = self.pad is not None or len(set(lengths)) == 1
        return Batch("text", ids, (None,) * len(ids), {} if even else {"lengths": torch.tensor(lengths)})

    def forward(self, batch: Batch) -> Tokens:
        ids = batch.data
        if not isinstance(ids, Tensor) or ids.ndim != 2:
            raise ValueError("a text batch holds ids of shape (texts, tokens): use collate")
        side = Side(grid=(ids.shape[1],), modality="text", causal=self.causal, lengths=batch.extra.get("lengths"))
        return Tokens(self.table(ids), side)


@cache
def _encoder(encoding: str, context: int) -> Callable[[str], list[int]]:
    if encoding == "clip_bpe":
        try:
            from open_clip.tokenizer import SimpleTokenizer
        except ImportError as error:
            raise MissingExtraError("open_clip_torch", "converters") from error
        return partial(_with_ends, SimpleTokenizer(context_length=context), context)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "converters") from error
    place = encoding.removeprefix("transformers:")
    try:
        words = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(place, f"its text tokenizer cannot be loaded ({error})") from error
    return lambda text: list(words(text, truncation=True, max_length=context)["input_ids"])


def _with_ends(words, context: int, text: str) -> list[int]:
    ids = words.encode(text)
    return [words.sot_token_id, *ids[: context - 2], words.eot_token_id]
