"""The objective ``masked_words``: its loss by hand, its shares, and where words come from."""

import math
from typing import Any

import pytest
import torch

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.objectives.likelihood import Likelihood
from unimodal.objectives.masked_words import MaskedWords
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.class_token import ClassToken
from unimodal.sample import Batch
from unimodal.tokenizers.text import Text
from unimodal.transformer import Transformer
from unimodal.vocabulary import Vocabulary

DIM, ROWS, BLANK, END = 12, 30, 29, 1


def model() -> Any:
    return Model(
        DIM,
        tokenizers={"text": Part(Text, vocabulary=ROWS, encoding="clip_bpe", causal=False)},
        positions={"text": Part(Learned, grid=(77,), resample=False)},
        transformer=Part(
            Transformer, depth=2, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain, ratio=2.0))
        ),
        prefix=1,
        norm=Part(LayerNorm),
        readout=Part(ClassToken),
    ).double()


def vocabulary(net: Any, ids: tuple[int, ...] = tuple(range(2, 29))) -> Vocabulary:
    return Vocabulary(net.tokenizer("text"), ids, blank=BLANK, end=END)


def texts(net: Any, *rows: list[int]) -> Batch:
    text = net.tokenizer("text")
    return text.collate([text.read(row) for row in rows])


def likelihood() -> Likelihood:
    return Likelihood(DIM, tasks=("words",)).double()


def test_it_is_the_cross_entropy_of_the_blanks_by_hand():
    net, made, objective = model(), likelihood(), MaskedWords(share=0.5)
    batch, words = texts(net, [4, 5, 6, 7, 1], [8, 9, 1]), vocabulary(net)
    torch.manual_seed(3)
    hidden, blank, _ = objective.hide(batch, words)
    assert blank.sum() > 1
    y = [made.encode(net, texts(net, [i, END]))[0] for i in range(2, 29)]  # each word alone
    total, out = 0.0, net(hidden).x[:, 1:]
    for row, column in blank.nonzero().tolist():
        z = made.unit(out[row, column])
        scores = [math.exp(made.scale("words").item() * (z @ word).item()) for word in y]
        assert isinstance(batch.data, torch.Tensor)
        total -= math.log(scores[int(batch.data[row, column]) - 2] / sum(scores))
    torch.manual_seed(3)
    given = objective(net, made, "words", batch, words)
    assert given.item() == pytest.approx(total / int(blank.sum()), abs=1e-10)


def test_blanks_are_15_percent_and_hidden_replaced_or_left_8_to_1_to_1():
    net = model()
    ids = torch.randint(2, 29, (200, 100))
    hidden, blank, labels = MaskedWords().hide(Batch("text", ids), vocabulary(net))
    assert isinstance(hidden.data, torch.Tensor)
    assert torch.equal(hidden.data[~blank], ids[~blank])
    assert torch.equal(labels, ids[blank] - 2)
    count, shown = int(blank.sum()), hidden.data[blank]
    assert count / ids.numel() == pytest.approx(0.15, abs=4 * (0.15 * 0.85 / ids.numel()) ** 0.5)
    hidden_share = (shown == BLANK).double().mean().item()
    left = (shown == ids[blank]).double().mean().item()  # a random word is the word itself once in 27
    assert hidden_share == pytest.approx(0.8, abs=4 * (0.16 / count) ** 0.5)
    assert left == pytest.approx(0.1 + 0.1 / 27, abs=4 * (0.09 / count) ** 0.5)
    assert ((shown >= 2) | (shown == BLANK)).all()


def test_only_real_tokens_that_are_words_become_blanks_and_at_least_one_does():
    net = model()
    batch, words = texts(net, [4, 1, 1, 1], [1, 5]), vocabulary(net, (4, 0))
    for _ in range(20):
        _, blank, labels = MaskedWords(share=1e-9).hide(batch, words)
        assert blank.nonzero().tolist() == [[0, 0]]  # the filling behind the second text has id 0, a word here
        assert labels.tolist() == [0]


def test_words_are_scored_by_the_core_and_not_by_the_table():
    net, made = model(), likelihood()
    before = made.encode(net, vocabulary(net).words)
    torch.nn.init.normal_(net.transformer.blocks[1].ffn.to_out.weight)
    assert not torch.allclose(made.encode(net, vocabulary(net).words), before, atol=1e-3)


def test_gradients_reach_the_core_through_the_words_alone():
    net, made = model(), likelihood()
    hidden, blank, labels = MaskedWords(share=0.5).hide(texts(net, [4, 5, 6, 7]), vocabulary(net))
    with torch.no_grad():
        z = made.unit(net(hidden).lattice().x[blank])
    y = made.encode(net, vocabulary(net).words)
    torch.nn.functional.cross_entropy(made.compared("words", z, y), labels).backward()
    assert net.transformer.blocks[0].mixer.to_qkv.weight.grad.abs().sum() > 0


def test_training_with_it_learns_a_text_by_heart():
    torch.manual_seed(0)
    net, made, objective = model(), likelihood(), MaskedWords(share=0.3)
    batch, words = texts(net, [4, 9, 6, 12, 8, 20]), vocabulary(net, (4, 6, 8, 9, 12, 20))
    optimizer = torch.optim.Adam([*net.parameters(), *made.parameters()], lr=3e-3)
    losses = []
    for _ in range(60):
        loss = objective(net, made, "words", batch, words)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.5 * math.log(6)


def test_wrong_requests_raise():
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match="share must be in"):
            MaskedWords(share=share)
    net = model()
    with pytest.raises(ValueError, match="nothing can be asked"):
        MaskedWords().hide(texts(net, [1, 1]), vocabulary(net))
