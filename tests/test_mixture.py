"""Several modalities in one sequence: what lies where, who sees whom, and any subset for any input."""

from typing import Any

import pytest
import torch

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.mixture import mixture
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.sincos import SinCos
from unimodal.readouts.mean import Mean
from unimodal.side import Side
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.tokenizers.text import Text
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer


@pytest.fixture
def model() -> Any:
    stem = Part(PatchStem, patch=8)
    built = Model(
        24,
        tokenizers={
            "image": Part(Image, stem=stem, size=None, fit="native"),
            "text": Part(Text, vocabulary=50, context=12, causal=False),
        },
        positions={"image": Part(SinCos), "text": Part(SinCos)},
        prefix=1,
        transformer=Part(
            Transformer,
            depth=2,
            blocks=Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain)),
            norm=Part(LayerNorm),
        ),
        readout=Part(Mean),
        kinds=True,
    ).eval()
    for vector in built.kinds.values():
        torch.nn.init.normal_(vector)
    return built


@pytest.fixture
def picture(model):
    image = model.tokenizer("image")
    return lambda rows, columns: image.read((torch.rand(rows, columns, 3) * 255).byte().numpy())


@pytest.fixture
def words(model):
    return lambda *ids: model.tokenizer("text").read(list(ids))


def test_each_inputs_sequences_follow_one_another_behind_one_prefix(model, picture, words):
    one, two, said = picture(16, 24), picture(8, 8), words(3, 4, 5)
    tokens = model.together([[said, one], [two], [one, said, two]])
    assert tokens.sequence_lengths() == [1 + 3 + 6, 1 + 1, 1 + 6 + 3 + 1]
    image, text = (
        model.place(model.tokenizer(name)(model.tokenizer(name).collate(samples)), name)
        for name, samples in (("image", [one]), ("text", [said]))
    )
    first, _, third = tokens.split()
    expected = torch.cat([image.x[0, :1], text.x[0, 1:], image.x[0, 1:]])  # one prefix, then what stands behind it
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(third[1:7], image.x[0, 1:])
    assert tokens.side.modality[0, :10].tolist() == [1] * 4 + [0] * 6  # the prefix as the first token behind it


def test_a_single_modality_is_the_same_as_a_batch_of_it(model, picture):
    samples = [picture(16, 24), picture(8, 16)]
    mixed = model.readout(model.transformer(model.together([[s] for s in samples])))
    torch.testing.assert_close(mixed, model.embed(model.tokenizer("image").collate(samples)))


def test_an_input_is_the_same_alone_in_a_batch_and_padded(model, picture, words):
    inputs = [[picture(16, 24), words(3, 4, 5)], [words(7)], [picture(8, 8), words(9, 1), picture(16, 8)]]
    together = model.together(inputs)
    alone = [model.transformer(model.together([samples])).x[0] for samples in inputs]
    packed, padded = (model.transformer(tokens).split() for tokens in (together, together.padded()))
    for one, two, three in zip(alone, packed, padded, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=2e-6)
        torch.testing.assert_close(three, one, rtol=0, atol=2e-6)


def test_another_input_has_no_influence_and_another_modality_of_the_same_input_has(model, picture, words):
    kept, other = picture(16, 24), words(3, 4)
    first = model.transformer(model.together([[kept, words(5)], [other]])).split()
    second = model.transformer(model.together([[kept, words(5)], [words(8, 9)]])).split()
    third = model.transformer(model.together([[kept, words(6)], [other]])).split()
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(first[0][1:7], third[0][1:7])  # the picture's tokens have seen the word


def test_kinds_tell_equal_tokens_of_two_modalities_apart(model, words):
    said = words(3)
    with_kind = model.together([[said]]).x
    with torch.no_grad():
        model.kinds["text"].add_(1.0)
    torch.testing.assert_close(model.together([[said]]).x[0, 1], with_kind[0, 1] + 1.0)


def test_every_modality_of_a_mixture_gets_gradients(model, picture, words):
    model.readout(model.transformer(model.together([[picture(8, 8), words(3)]]))).square().sum().backward()
    for name in ("tokenizers.image.stem.project.weight", "tokenizers.text.table.weight", "kinds.text"):
        assert model.get_parameter(name).grad.abs().sum() > 0


def test_an_input_without_samples_is_refused(model, words):
    with pytest.raises(ValueError, match="input 1 has no tokens"):
        model.together([[words(3)], []])
    with pytest.raises(ValueError, match="input any has no tokens"):
        model.together([])


def test_a_modality_without_a_tokenizer_is_refused(model, words):
    sample = words(3)
    object.__setattr__(sample, "modality", "smell")
    with pytest.raises(ValueError, match="this model reads image, text, not 'smell'"):
        model.together([[sample]])


def test_causal_and_other_orders_do_not_mix():
    text = Tokens(torch.randn(1, 2, 4), Side(causal=True, modality="text"))
    image = Tokens(torch.randn(1, 3, 4), Side(modality="image"))
    with pytest.raises(ValueError, match="text in causal order cannot be mixed"):
        mixture([text, image], [[(0, 0), (1, 0)]], [0, 1])
    joined = mixture([text, text], [[(0, 0), (1, 0)]], [0, 1])
    assert joined.side.causal


def test_a_part_with_a_prefix_is_refused():
    text = Tokens(torch.randn(1, 2, 4), Side(prefix=1, modality="text"))
    with pytest.raises(ValueError, match="text has 1 prefix tokens"):
        mixture([text], [[(0, 0)]], [0])
