"""Token budgets: their sums, their mean shares, who never has a token, and inputs apart from targets."""

from typing import Any

import pytest
import torch

from unimodal.token_budget import TokenBudget

ROOM = {"rgb": 196, "depth": 196, "caption": 256}
ALL = dict.fromkeys(ROOM, 0.5)


def budget(**settings: Any) -> TokenBudget:
    return TokenBudget(**{"room": ROOM, "mixtures": [(ALL, ALL)], "sequences": ["caption"], **settings})


def chi_square(mean, expected, of_shares, draws):
    """Of the mean shares of independent draws whose covariance is that of a Dirichlet distribution, M - 1 degrees."""
    scale = sum(of_shares) + 1
    gap = mean - expected
    return float(draws * scale * (gap.square() / expected).sum())


def test_the_sum_is_the_total_unless_a_modality_has_no_room():
    made = budget()
    given, asked = made.draw(2000)
    assert (given.sum(1) == 128).all()
    assert (given >= 0).all()
    full = (asked[:, :2] == 196 - given[:, :2]).any(1)
    assert (asked[~full].sum(1) == 128).all()
    assert (asked.sum(1) <= 128).all()
    assert 0 < full.sum() < 1000
    small = budget(room={"rgb": 40, "depth": 40, "caption": 40}, inputs=100)
    given, _ = small.draw(2000)
    assert given.max() == 40
    clamped = (given == 40).any(1)
    assert (given[~clamped].sum(1) == 100).all()
    assert (given.sum(1) <= 100).all()
    assert (given.sum(1) < 100).any()


@pytest.mark.parametrize(
    "alphas, total", [((0.5, 0.5, 0.5), 128), ((1.0, 1.0, 1.0), 128), ((0.2, 1.0, 3.0), 65_536), ((8.0, 2.0), 65_536)]
)
def test_the_mean_share_is_alpha_over_the_sum_of_alphas(alphas, total):
    """By a chi-square test over 10^5 draws; unequal alphas where rounding, of M / total at most, cannot be seen."""
    names = [str(i) for i in range(len(alphas))]
    of = dict(zip(names, alphas, strict=True))
    room = dict.fromkeys(names, int(total))
    made = TokenBudget(room, inputs=total, targets=0, mixtures=[(of, of)], sequences=names)
    given, _ = made.draw(100_000)
    expected = torch.tensor(alphas, dtype=torch.float64) / sum(alphas)
    found = chi_square(given.double().mean(0) / total, expected, alphas, 100_000)
    spread = expected * (1 - expected) / (sum(alphas) + 1)
    torch.testing.assert_close((given.double() / total).var(0), spread, rtol=0.03, atol=0)
    assert found < {2: 10.8, 3: 13.8}[len(alphas)]  # passed by chance in one of a thousand seeds


def test_rounding_moves_less_than_a_token_a_modality():
    of = {"rgb": 0.2, "depth": 1.0, "caption": 3.0}
    given, _ = budget(mixtures=[(of, of)], room=dict.fromkeys(ROOM, 128)).draw(100_000)
    gap = given.double().mean(0) - 128 * torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64) / 4.2
    assert gap.abs().max() < 1.0


def test_alpha_0_has_no_token_ever():
    inputs, targets = {"rgb": 1000.0}, {"depth": 0.5, "caption": 0.5, "rgb": 0.0}
    given, asked = budget(mixtures=[(inputs, targets)]).draw(5000)
    assert (given == torch.tensor([128, 0, 0])).all()
    assert (asked[:, 0] == 0).all()
    assert (asked.sum(1) == 128).all()


def test_small_alphas_give_one_modality_and_large_ones_equal_shares():
    few, many = dict.fromkeys(ROOM, 1e-3), dict.fromkeys(ROOM, 1e6)
    alone, _ = budget(mixtures=[(few, few)]).draw(500)
    assert (alone.max(1).values >= 126).double().mean() > 0.97
    assert (alone.argmax(1).bincount(minlength=3) > 100).all()
    even, _ = budget(mixtures=[(many, many)]).draw(500)
    assert ((even - 128 / 3).abs() < 3).all()


def test_each_sample_is_of_one_mixture_by_its_weight():
    made = budget(mixtures=[({"rgb": 1.0}, ALL), ({"depth": 1.0}, ALL)], weights=[1, 3])
    given, _ = made.draw(4000)
    assert set(map(tuple, given.tolist())) == {(128, 0, 0), (0, 128, 0)}
    assert 0.22 < (given[:, 0] > 0).double().mean() < 0.28


def test_a_lattice_has_targets_only_where_it_has_no_inputs_and_a_sequence_keeps_its_room():
    made = budget(room=dict.fromkeys(ROOM, 130))
    given, asked = made.draw(5000)
    together = given + asked
    assert (together[:, :2] <= 130).all()
    assert together[:, 2].max() > 130
    assert (asked.sum(1) < 128).any()


def test_input_and_target_sets_are_disjoint_and_of_the_drawn_sizes():
    made = budget()
    given, asked = made.draw(300)
    for m in range(2):
        inputs, targets = made.masks(196, given[:, m], asked[:, m])
        assert not (inputs & targets).any()
        assert torch.equal(inputs.sum(1), given[:, m])
        assert torch.equal(targets.sum(1), asked[:, m])
    often = torch.stack([made.masks(5, torch.tensor([2]), torch.tensor([1]))[0][0] for _ in range(400)])
    assert (often.double().mean(0) - 0.4).abs().max() < 0.12


def test_draws_below_the_least_are_thrown_away():
    given, asked = budget(least={"caption": 20, "rgb": 5}).draw(1000)
    for drawn in (given, asked):
        assert drawn[:, 2].min() >= 20
        assert drawn[:, 0].min() >= 5


def test_a_seed_repeats_its_draws():
    made, drawn = budget(), []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(torch.cat(made.draw(20)))
    assert torch.equal(*drawn)


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"inputs": -1}, "must not be negative, not -1"),
        ({"mixtures": [({"rgb": -1.0}, ALL)]}, "alphas must be finite, at least 0 and not all 0"),
        ({"mixtures": [(ALL, {"rgb": float("nan")})]}, "alphas must be finite"),
        ({"mixtures": [(ALL, {"rgb": 0.0})]}, "not all 0"),
        ({"mixtures": [({"sound": 1.0}, ALL)]}, "room has no modality sound; it has rgb, depth, caption"),
        ({"least": {"sound": 1}}, "room has no modality sound"),
        ({"weights": [1, 2]}, "weights must be one for each of 1 mixtures"),
        ({"mixtures": []}, "at least one"),
    ],
)
def test_settings_that_say_nothing_sensible_are_refused(settings, cause):
    with pytest.raises(ValueError, match=cause):
        budget(**settings)


def test_a_least_that_cannot_be_had_is_refused_when_drawn():
    with pytest.raises(ValueError, match="100 draws in a row were below least"):
        budget(least={"rgb": 150}).draw(1)


def test_budgets_larger_than_the_lattice_are_refused():
    with pytest.raises(ValueError, match="are 7 together, more than 6 tokens"):
        budget().masks(6, torch.tensor([3, 1]), torch.tensor([4, 1]))
