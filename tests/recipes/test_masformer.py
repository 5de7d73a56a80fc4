"""MASFormer: GPT-Neo's parameters whatever the spans, and its layers in their places."""

import pytest
import torch

from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.part import Part
from unimodal.recipes.masformer import masformer
from unimodal.sample import Batch

TINY = {"dim": 16, "depth": 3, "heads": 2, "context": 40, "vocabulary": 259, "encoding": "bytes", "block": 8}


@pytest.mark.parametrize("full", [0, 8, 24])
def test_it_has_the_parameters_of_gpt_neo_1_3b_whatever_the_spans(full):
    with torch.device("meta"):
        model = masformer(full=full)()
    assert sum(p.numel() for p in model.parameters()) == 1_315_575_808


def test_bottom_layers_are_full_and_the_others_local_without_a_scale():
    model = masformer(full=2, **TINY)()
    rules = [block.mixer.attention for block in model.transformer.blocks]
    assert [type(rule) for rule in rules] == [SoftmaxAttention, SoftmaxAttention, BlockLocalAttention]
    assert {rule.scale for rule in rules} == {1.0}
    assert (rules[2].block, rules[2].lookback) == (8, 1)


def test_its_part_survives_json():
    part = masformer(full=1, placement="top", **TINY)
    assert Part.from_json(part.to_json()) == part


def test_logits_of_a_token_depend_on_earlier_ones_only():
    model = masformer(full=1, **TINY)().double().eval()
    ids = torch.randint(259, (1, 30))
    other = ids.clone()
    other[0, 20] = (ids[0, 20] + 1) % 259
    table = model.tokenizer("text").table.weight
    before, after = (model(Batch("text", i)).x @ table.T for i in (ids, other))
    assert before.shape == (1, 30, 259)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 29], after[:, 29])


def test_numbers_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"full is a number of layers in 0\.\.3, not 4"):
        masformer(full=4, **TINY)
    with pytest.raises(ValueError, match="placement must be"):
        masformer(full=1, placement="middle", **TINY)
