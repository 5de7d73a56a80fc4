"""Masks: boolean, True = may attend, broadcastable to (batch, heads, queries, keys).

Source: a text and the copy that asks for it: Zhu et al. 2022, arXiv:2112.01522, in the form of the released
code github.com/fundamentalvision/Uni-Perceiver, uniperceiver/modeling/encoder/unified_bert_encoder.py; content and
query streams: Yang et al. 2019, arXiv:1906.08237, sec. 2.3.
Axes: B rows, N tokens of a row.
"""

import torch
from torch import Tensor

__all__ = ["keys_within", "text_and_its_questions"]


def keys_within(lengths: Tensor, keys: int) -> Tensor:
    """The mask (B, 1, 1, keys) that allows the first ``lengths[b]`` keys of row b."""
    return (torch.arange(keys, device=lengths.device) < lengths[:, None])[:, None, None]


def text_and_its_questions(lengths: Tensor, words: Tensor, tokens: int) -> Tensor:
    """The mask (B, 1, tokens, tokens) of rows [context, text, questions], as many questions as words in the text.

        context        sees the context (what stands in front of the text, of any modality);
        word i         sees the context and the words 1 .. i;
        question i     sees the context, the words 1 .. i - 1 and itself.

    Nothing that question i sees has seen word i, however many layers there are, so one pass asks for all words and
    each answer is the one that a pass over the context, the words before it and one question gives.

    Args:
        lengths: (B,) real tokens of each row, context, text and questions together.
        words: (B,) words of each row's text.
        tokens: N.

    Raises:
        ValueError: a row is too short for its words and their questions, or longer than ``tokens``.
    """
    if bool((lengths < 2 * words).any()) or bool((lengths > tokens).any()):
        raise ValueError(
            f"rows of {lengths.tolist()} tokens must hold {words.tolist()} words twice and be at most {tokens} long"
        )
    place_N = torch.arange(tokens, device=lengths.device)
    first_B1, asked_B1 = (lengths - 2 * words)[:, None], (lengths - words)[:, None]
    context_BN = place_N < first_B1
    word_BN = (place_N >= first_B1) & (place_N < asked_B1)
    question_BN = (place_N >= asked_B1) & (place_N < lengths[:, None])
    number_BN = place_N - torch.where(question_BN, asked_B1, first_B1)
    step_BNN = number_BN[:, :, None] - number_BN[:, None]
    seen_BNN = word_BN[:, :, None] & (step_BNN >= 0) | question_BN[:, :, None] & (step_BNN > 0)
    itself_BNN = question_BN[:, :, None] & torch.eye(tokens, dtype=torch.bool, device=lengths.device)
    return (context_BN[:, None] | word_BN[:, None] & seen_BNN | itself_BNN)[:, None]
