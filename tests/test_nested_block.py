"""The nested block: its equations in loops, what stays untouched, and the plain block that it contains."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.nested_block import NestedBlock
from unimodal.part import Part
from unimodal.side import Side
from unimodal.testing import check_part
from unimodal.tokens import Tokens

WIDTH, WORDS, INNER = 8, 4, 4
DIM = WIDTH + WORDS * INNER
SETTINGS: dict[str, Any] = {
    "width": WIDTH,
    "words": WORDS,
    "inner": Part(Block, mixer=Part(Full, heads=2, bias=False), ffn=Part(Plain)),
    "outer": Part(Block, mixer=Part(Full, heads=2, bias=False), ffn=Part(Plain)),
}


def block(**changes: Any) -> Any:
    torch.manual_seed(0)
    module = NestedBlock(DIM, **{**SETTINGS, **changes}).double().eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def test_it_keeps_the_contracts_of_what_mixes_tokens():
    check_part("mixers", NestedBlock, **SETTINGS)


@pytest.mark.parametrize("prefix", [0, 2])
def test_it_equals_the_equations_patch_by_patch(prefix):
    module, x = block(), torch.randn(2, 5, DIM, dtype=torch.float64)
    sentences, words = x[..., :WIDTH].clone(), x[..., WIDTH:].clone()
    for b in range(2):
        for n in range(prefix, 5):
            words[b, n] = module.inner(words[b, n].reshape(1, WORDS, INNER)).flatten()
            told = module.to_sentence.weight @ module.norm_words(words[b, n])
            sentences[b, n] += module.norm_told(told)
    expected = torch.cat([module.outer(sentences), words], -1)
    torch.testing.assert_close(module(x, Side(prefix=prefix)), expected, rtol=0, atol=1e-12)


def test_prefix_tokens_are_known_in_a_packed_batch_too():
    module = block()
    tokens = Tokens(torch.randn(3, 7, DIM, dtype=torch.float64), Side(prefix=2, lengths=torch.tensor([4, 7, 3])))
    packed = tokens.packed()
    several = packed.replace(module(packed.x, packed.side)).split()
    for row, one in zip(tokens.split(), several, strict=True):
        torch.testing.assert_close(one[None], module(row[None], Side(prefix=2)), rtol=0, atol=1e-12)
        assert torch.equal(one[:2, WIDTH:], row[:2, WIDTH:])


def test_words_of_one_sentence_have_no_influence_on_those_of_another():
    module, x = block(), torch.randn(1, 5, DIM, dtype=torch.float64)
    changed = x.clone()
    changed[:, 2] += 1.0
    before, after = module(x), module(changed)
    others = [0, 1, 3, 4]
    assert torch.equal(before[:, others, WIDTH:], after[:, others, WIDTH:])
    assert not torch.equal(before[:, others, :WIDTH], after[:, others, :WIDTH])


def test_words_that_tell_nothing_leave_the_plain_block():
    module, x = block(), torch.randn(2, 5, DIM, dtype=torch.float64)
    for tensor in (module.to_sentence.weight, module.norm_told.weight, module.norm_told.bias):
        nn.init.zeros_(tensor)
    assert torch.equal(module(x)[..., :WIDTH], module.outer(x[..., :WIDTH]))


def test_words_and_sentences_are_skipped_as_often_as_said_while_training():
    module = block(drop_path=0.5)
    assert module.inner.drop_path == module.outer.drop_path == 0.5
    x = torch.randn(1, 64, DIM, dtype=torch.float64)
    module.train()
    kept = (module(x)[..., WIDTH:] != x[..., WIDTH:]).any(-1).double().mean()  # either branch of the inner block
    assert abs(kept - 0.75) < 3 * (0.75 * 0.25 / 64) ** 0.5
    module.eval()
    assert torch.equal(module(x), module(x))


def test_it_is_a_part_that_round_trips():
    part = Part(NestedBlock, **SETTINGS)
    assert part.to_json()["part"] == "nested_block"
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize("change", [{"width": 0}, {"width": DIM}, {"width": 7}, {"words": 0}])
def test_sizes_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError, match="dim must be width"):
        NestedBlock(DIM, **{**SETTINGS, **change})
