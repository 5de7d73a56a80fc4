"""The recipe ``sliced_recursive``: parameters of the published models, and which groups a loop has."""

import pytest
import torch

from unimodal.part import Part
from unimodal.recipes.sliced_recursive import sliced_recursive
from unimodal.tokens import Tokens

# name: head width, heads of the stages, ratios, parameters of the released model (SReT.py) with its 1000 classes
MODELS = {
    "tiny": (32, (2, 4, 8), 3.6, 1.0, 4_755_979),
    "wide": (32, (2, 4, 8), 4.0, 1.0, 4_988_024),
    "small": (42, (3, 6, 12), 3.0, 2.0, 20_899_692),
}


def around(widths):
    """Parameters of the stem, the position map, the poolings, the last norm and the classifier."""
    a, b, c = widths
    stem = (27 + 1) * (a // 2) + a + (9 * (a // 2) + 1) * a + 2 * a + (9 * a + 1) * a + 2 * a  # each map with its norm
    return stem + a * 28 * 28 + (9 + 1) * (b + c) + 2 * c + (c + 1) * 1000


@pytest.mark.parametrize("name", MODELS)
def test_the_stages_have_the_parameters_of_the_released_models(name):
    wide, heads, ratio, project_ratio, published = MODELS[name]
    total = around([wide * h for h in heads])
    for distinct, h, groups in zip((2, 5, 3), heads, ((8, 2), (4, 1), (1, 1)), strict=True):
        part = sliced_recursive(depth=distinct, heads=h, groups=groups, ratio=ratio, project_ratio=project_ratio)
        with torch.device("meta"):
            total += sum(p.numel() for p in part(wide * h).parameters())
    assert total == published


def test_loops_take_their_groups_in_turn_and_all_but_the_first_are_permuted():
    first, second = sliced_recursive(depth=2, heads=2, groups=(8, 2))(8).blocks[1].slices
    assert (first.groups, first.permuted, second.groups, second.permuted) == (8, False, 2, True)
    assert not sliced_recursive(depth=1, heads=2, groups=(1, 1))(8).blocks[0].slices


def test_a_token_reaches_every_other_over_two_loops_of_a_few_groups():
    model, x = sliced_recursive(depth=2, heads=2, groups=(4, 2))(8).eval(), torch.randn(1, 24, 8)
    changed = x.clone()
    changed[:, 3] += 1.0
    assert (model(Tokens(x)).x != model(Tokens(changed)).x).any(-1).all()


def test_it_is_a_part_that_round_trips():
    part = sliced_recursive(depth=2, heads=2, groups=(4, 2))
    assert Part.from_json(part.to_json()) == part


def test_every_block_may_have_a_rate_of_its_own_and_other_numbers_of_rates_are_refused():
    model = sliced_recursive(depth=3, heads=2, drop_path=(0.0, 0.3, 0.1))(8)
    assert [block.blocks[0].drop_path for block in model.blocks] == [0.0, 0.3, 0.1]
    with pytest.raises(ValueError, match="one for each of 3 blocks"):
        sliced_recursive(depth=3, heads=2, drop_path=(0.1, 0.2))
