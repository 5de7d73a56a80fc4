"""Masks: what they allow, and what does not leak through several layers of them."""

import pytest
import torch
from torch import Tensor

from unimodal.masks import keys_within, text_and_its_questions
from unimodal.recipes.pre_norm import pre_norm
from unimodal.side import Side
from unimodal.tokens import Tokens

DIM = 16


def test_the_first_keys_of_each_row_are_allowed():
    mask = keys_within(torch.tensor([0, 2, 4]), 4)
    assert mask.shape == (3, 1, 1, 4)
    assert mask[:, 0, 0].tolist() == [[False] * 4, [True, True, False, False], [True] * 4]


def test_a_text_and_its_questions_see_what_the_rule_says():
    rows = [(3, 4), (0, 2), (5, 0), (2, 1)]
    tokens = 12
    lengths, words = (torch.tensor(v) for v in ([c + 2 * w for c, w in rows], [w for _, w in rows]))
    mask = text_and_its_questions(lengths, words, tokens)
    assert mask.shape == (4, 1, tokens, tokens)
    for given, (context, count) in zip(mask[:, 0], rows, strict=True):
        for query in range(context + 2 * count):
            for key in range(tokens):
                sees = key < context
                is_word = context <= key < context + count
                if context <= query < context + count:
                    sees = sees or (is_word and key <= query)
                elif query >= context + count:
                    sees = sees or (is_word and key - context < query - context - count) or key == query
                assert given[query, key] == sees


def test_it_is_the_mask_of_one_text_written_as_triangles():
    """The released rule for 1 + 5 tokens of context and 4 words; there True = may not attend."""
    context, words = 6, 4
    total = context + 2 * words
    hidden = torch.ones(total, total, dtype=torch.bool)
    text, asked = slice(context, context + words), slice(context + words, total)
    hidden[:, :context] = False
    hidden[text, text] = torch.ones(words, words, dtype=torch.bool).triu(1)
    hidden[asked, text] = torch.ones(words, words, dtype=torch.bool).triu(0)
    hidden[asked, asked] = ~torch.eye(words, dtype=torch.bool)
    mask = text_and_its_questions(torch.tensor([total]), torch.tensor([words]), total)
    assert torch.equal(mask[0, 0], ~hidden)


def core() -> torch.nn.Module:
    return pre_norm(depth=3, heads=2, hidden=32)(DIM).double()


def rows(context: Tensor, text: Tensor, question: Tensor) -> Tensor:
    """[context, text, questions that know their number]."""
    number = torch.linspace(-1, 1, 20, dtype=text.dtype)[:, None]
    count = text.shape[-2]
    return torch.cat([context, text + number[:count], (question + number[:count]).expand_as(text)], -2)


def test_a_question_has_no_gradient_from_its_word_or_the_words_behind_it_through_three_layers():
    net = core()
    context, text = (torch.randn(1, n, DIM, dtype=torch.float64, requires_grad=True) for n in (5, 4))
    x = rows(context, text, torch.randn(DIM, dtype=torch.float64))
    mask = text_and_its_questions(torch.tensor([13]), torch.tensor([4]), 13)
    out = net(Tokens(x, Side(mask=mask))).x @ torch.randn(DIM, dtype=torch.float64)
    for word in range(4):
        of_context, of_text = torch.autograd.grad(out[0, 9 + word], [context, text], retain_graph=True)
        assert torch.equal(of_text[0, word:], torch.zeros(4 - word, DIM, dtype=torch.float64))
        assert (of_text[0, :word].abs().sum(1) > 1e-6).all()
        assert (of_context.abs().sum(-1) > 1e-6).all()


def test_the_context_sees_neither_text_nor_questions():
    net, x = core(), torch.randn(1, 13, DIM, dtype=torch.float64)
    mask = text_and_its_questions(torch.tensor([13]), torch.tensor([4]), 13)
    other = x.clone()
    other[:, 5:] += 1.0
    before, after = (net(Tokens(given, Side(mask=mask))).x[:, :5] for given in (x, other))
    assert torch.equal(before, after)


def test_one_pass_gives_what_step_by_step_passes_give():
    net, question = core(), torch.randn(DIM, dtype=torch.float64)
    context, text = (torch.randn(2, n, DIM, dtype=torch.float64) for n in (5, 4))
    mask = text_and_its_questions(torch.full((2,), 13), torch.full((2,), 4), 13)
    at_once = net(Tokens(rows(context, text, question), Side(mask=mask))).x[:, 9:]
    whole = rows(context, text, question)
    for word in range(4):
        step = torch.cat([whole[:, : 5 + word], whole[:, 9 + word : 10 + word]], 1)
        left = torch.ones(6 + word, 6 + word, dtype=torch.bool).tril()
        left[:5, :5] = True
        answer = net(Tokens(step, Side(mask=left[None, None]))).x[:, -1]
        torch.testing.assert_close(answer, at_once[:, word], rtol=0, atol=1e-12)


def test_a_padded_row_answers_as_it_does_alone():
    net, question = core(), torch.randn(DIM, dtype=torch.float64)
    sizes = ((5, 4), (2, 3), (3, 0))
    random = [[torch.randn(n, DIM, dtype=torch.float64) for n in row] for row in sizes]
    made = [rows(context, text, question) for context, text in random]
    lengths, words = torch.tensor([13, 8, 3]), torch.tensor([4, 3, 0])
    x = torch.nn.utils.rnn.pad_sequence(made, batch_first=True)
    together = net(Tokens(x, Side(mask=text_and_its_questions(lengths, words, 13), lengths=lengths))).split()
    for i, row in enumerate(made):
        mask = text_and_its_questions(lengths[i : i + 1], words[i : i + 1], len(row))
        torch.testing.assert_close(together[i], net(Tokens(row[None], Side(mask=mask))).x[0], rtol=0, atol=1e-12)


def test_rows_that_cannot_hold_their_words_are_refused():
    with pytest.raises(ValueError, match="must hold"):
        text_and_its_questions(torch.tensor([5]), torch.tensor([3]), 8)
    with pytest.raises(ValueError, match="at most 8 long"):
        text_and_its_questions(torch.tensor([9]), torch.tensor([3]), 8)
