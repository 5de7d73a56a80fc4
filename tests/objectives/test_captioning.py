"""The objective ``captioning``: one pass beside a pass a word, what leaks, and what is asked for."""

from typing import Any

import numpy
import pytest
import torch

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.objectives.captioning import Captioning
from unimodal.objectives.likelihood import Likelihood
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.class_token import ClassToken
from unimodal.sample import Sample
from unimodal.side import Side
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.tokenizers.text import Text
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer
from unimodal.vocabulary import Vocabulary

DIM, ROWS, BLANK, END = 12, 30, 29, 1


def model(*, causal: bool = False) -> Any:
    return Model(
        DIM,
        tokenizers={
            "image": Part(Image, stem=Part(PatchStem, patch=4), size=None, fit="native"),
            "text": Part(Text, vocabulary=ROWS, encoding="clip_bpe", causal=causal),
        },
        positions={"text": Part(Learned, grid=(77,), resample=False)},
        transformer=Part(
            Transformer, depth=3, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain, ratio=2.0))
        ),
        prefix=1,
        norm=Part(LayerNorm),
        kinds=True,
        readout=Part(ClassToken),
    )


def pictures(net: Any, *sizes: tuple[int, int]) -> list[Sample]:
    return [net.tokenizer("image").read(numpy.random.randint(0, 256, (*size, 3), dtype=numpy.uint8)) for size in sizes]


def captions(net: Any, *rows: list[int]) -> list[Sample]:
    return [net.tokenizer("text").read(row) for row in rows]


def vocabulary(net: Any, ids: tuple[int, ...] = (1, *range(3, 29))) -> Vocabulary:
    return Vocabulary(net.tokenizer("text"), ids, blank=BLANK, end=END)


def likelihood() -> Likelihood:
    return Likelihood(DIM, tasks=("caption",))


def test_one_pass_is_a_pass_a_word():
    """The pass for word i holds [SPE, picture, words before i, blank]: picture full, words in causal order."""
    net, made = model(), likelihood()
    shown, said, words = pictures(net, (8, 12), (4, 8)), captions(net, [5, 9, 4, 1], [7, 7, 1]), vocabulary(net)
    logits, labels = Captioning().logits(net, made, "caption", shown, said, words)
    y = made.encode(net, words.words)
    expected, asked = [], []
    for picture, caption in zip(shown, said, strict=True):
        for i, word in enumerate(caption.data.tolist()):
            # blank i has the place of word i: a text [words before i, blank]
            steps = net.tokenizer("text").read([*caption.data.tolist()[:i], BLANK])
            tokens = net.together([[picture, steps]]).padded()
            context, total = tokens.x.shape[1] - i - 1, tokens.x.shape[1]
            mask = torch.ones(total, total, dtype=torch.bool).tril()
            mask[:context, :context] = True
            out = net.transformer(tokens.replace(mask=mask[None, None])).x[0, -1]
            expected.append(made.compared("caption", made.unit(out)[None], y)[0])
            asked.append(word)
    torch.testing.assert_close(logits, torch.stack(expected), rtol=0, atol=1e-5)
    assert words.ids[labels].tolist() == asked


def test_the_logits_of_a_word_have_no_gradient_from_it_and_what_follows():
    net, made = model().double(), likelihood().double()
    seen: list[torch.Tensor] = []

    def kept(_: Any, inputs: tuple[Tokens]) -> tuple[Tokens]:
        if inputs[0].side.mask is None:  # the vocabulary's pass
            return inputs
        x = inputs[0].x.detach().requires_grad_()
        seen.append(x)
        return (inputs[0].replace(x),)

    net.transformer.register_forward_pre_hook(kept)
    shown, said = pictures(net, (8, 8)), captions(net, [5, 9, 4, 1])
    logits, _ = Captioning().logits(net, made, "caption", shown, said, vocabulary(net))
    (x,) = seen
    assert x.shape[1] == 1 + 4 + 4 + 4
    for i in range(4):
        (given,) = torch.autograd.grad(logits[i] @ torch.randn(27, dtype=torch.float64), x, retain_graph=True)
        size = given[0].abs().sum(-1)
        assert torch.equal(size[5 + i : 9], torch.zeros(4 - i, dtype=torch.float64))
        assert (size[: 5 + i] > 0).all()
        assert size[9 + i] > 0
        assert size[9:].count_nonzero() == 1


def test_later_words_and_other_inputs_do_not_change_earlier_answers():
    net, made = model().double(), likelihood().double()
    shown, words = pictures(net, (8, 8), (8, 12)), vocabulary(net)
    first = Captioning().logits(net, made, "caption", shown, captions(net, [5, 9, 4], [3, 1]), words)[0]
    other = Captioning().logits(net, made, "caption", shown, captions(net, [5, 20, 8], [6, 6]), words)[0]
    alone = Captioning().logits(net, made, "caption", shown[:1], captions(net, [5, 9, 4]), words)[0]
    torch.testing.assert_close(other[:2], first[:2], rtol=0, atol=1e-12)
    torch.testing.assert_close(other[3], first[3], rtol=0, atol=1e-12)
    torch.testing.assert_close(alone, first[:3], rtol=0, atol=1e-12)
    assert not torch.allclose(other[2], first[2], atol=1e-3)


def test_only_words_of_the_vocabulary_are_asked_for_and_the_loss_is_their_mean():
    net, made = model().double(), likelihood().double()
    shown, said, words = pictures(net, (8, 8)), captions(net, [2, 5, 9, 1]), vocabulary(net, (9, 5, 6))
    logits, labels = Captioning().logits(net, made, "caption", shown, said, words)
    assert labels.tolist() == [1, 0]
    everything, _ = Captioning().logits(net, made, "caption", shown, said, vocabulary(net, (1, 2, 5, 6, 9)))
    torch.testing.assert_close(logits, everything[1:3][:, [4, 2, 3]], rtol=0, atol=1e-12)
    loss = Captioning()(net, made, "caption", shown, said, words)
    by_hand = -(logits[0].log_softmax(0)[1] + logits[1].log_softmax(0)[0]) / 2
    torch.testing.assert_close(loss, by_hand, rtol=0, atol=1e-12)


def test_a_core_without_the_mask_would_leak():
    """What the test of gradients would miss if the mask did nothing: without it words change earlier answers."""
    net = model().double()
    (picture,), (one, other) = pictures(net, (8, 8)), captions(net, [5, 9, 4], [5, 9, 8])
    rows = [net.together([[picture, said]]).padded() for said in (one, other)]
    before, after = (net.transformer(Tokens(row.x, Side())).x[0, 6] for row in rows)
    assert not torch.allclose(before, after, atol=1e-3)


def test_wrong_requests_raise():
    net, made = model(), likelihood()
    shown, words = pictures(net, (8, 8)), vocabulary(net)
    with pytest.raises(ValueError, match="1 inputs have 2 captions"):
        Captioning()(net, made, "caption", shown, captions(net, [3], [4]), words)
    with pytest.raises(ValueError, match="nothing can be asked"):
        Captioning()(net, made, "caption", shown, captions(net, [2, 0]), words)
    ordered = model(causal=True)
    with pytest.raises(ValueError, match="in causal order"):
        Captioning()(ordered, made, "caption", captions(ordered, [4]), captions(ordered, [3]), words)
