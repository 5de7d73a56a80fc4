"""Vocabulary: the words that a blank may stand for, each as a text of its own.

Source: Zhu et al. 2022, arXiv:2112.01522 (words are targets that the encoder reads); a word and the end
token, one symbol for blanks and questions: released code github.com/fundamentalvision/Uni-Perceiver,
vocabulary_CLIP_with_endoftext in its configurations, uniperceiver/datasets/task_dataset/general_corpus.py.
Axes: K words, V rows of the tokenizer's table.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Vocabulary"]


class Vocabulary:
    """The texts [word_k, end], and where among them an id is.

    Args:
        text: The model's text tokenizer.
        ids: The words' ids.
        blank: Id of the symbol that stands where a word is asked for.
        end: Id behind each word, or None.

    Attributes:
        words: A Batch of K texts.
        ids: (K,), on the CPU.

    Raises:
        ValueError: there are no ids, one comes twice, or the blank is a word or outside the table.
        InputError: an id is outside the table.
    """

    def __init__(self, text: Any, ids: Sequence[int], *, blank: int, end: int | None = None) -> None:
        rows = text.table.num_embeddings
        if not ids or len(set(ids)) < len(ids):
            raise ValueError(f"ids must be different ids of words, at least one, not {list(ids)}")
        if not 0 <= blank < rows or blank in ids:
            raise ValueError(f"blank must be an id below {rows} that is no word, not {blank}")
        self.blank = blank
        self.words = text.collate([text.read([i] if end is None else [i, end]) for i in ids])
        self.ids = torch.tensor(list(ids))
        self.place_V = torch.full((rows,), -1)
        self.place_V[self.ids] = torch.arange(len(ids))

    def __len__(self) -> int:
        return len(self.words)

    def places(self, ids: Tensor) -> Tensor:
        """The index of each id among the words, -1 where it is none; any shape."""
        return self.place_V.to(ids.device)[ids]
