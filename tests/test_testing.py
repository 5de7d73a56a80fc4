"""The public checks pass sound parts and notice each broken contract."""

import pytest
import torch
import torch.nn as nn

from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part_checks import part_checks
from unimodal.side import Side
from unimodal.testing import check_part


class Float32Norm(LayerNorm):
    def forward(self, x, side=Side()):
        return super().forward(x, side).float()


class RandomNorm(LayerNorm):
    def forward(self, x, side=Side()):
        return super().forward(x, side) + torch.rand(())


class IdleWeight(LayerNorm):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.idle = nn.Parameter(torch.ones(3))


class OverTheBatch(LayerNorm):
    def forward(self, x, side=Side()):
        return super().forward(x - x.mean(0, keepdim=True), side)


class HiddenState(LayerNorm):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.hidden = torch.rand(dim)

    def forward(self, x, side=Side()):
        return super().forward(x, side) * self.hidden.to(x.dtype)


class NoCopies(LayerNorm):
    def __deepcopy__(self, memo):
        return self


class Undecided(LayerNorm):
    def forward(self, x, side=Side()):
        return super().forward(x, side) if bool(x.abs().sum() > 0) else x


def deaf_to(**ignored):
    class Deaf(Full):
        def forward(self, x, side=Side()):
            return super().forward(x, side.replace(**ignored))

    return Deaf


def refusing(*names: str, message: str = ""):
    class Refusing(Full):
        def forward(self, x, side=Side()):
            for name in names:
                if getattr(side, name) is not None and getattr(side, name) is not False:
                    raise ValueError(message or f"no {name} here")
            return super().forward(x, side)

    return Refusing


def broken(family: str, cls, **kwargs) -> set[str]:
    """The checks that fail, but for the one that wants the class in a catalog."""
    found = set()
    for name, check in part_checks(family, cls, **kwargs).items():
        try:
            check()
        except Exception:
            found.add(name)
    return found - {"json_round_trip"}


@pytest.mark.parametrize(
    "family, cls, expected",
    [
        ("norms", Float32Norm, {"shape_and_dtype"}),
        ("norms", IdleWeight, {"finite_gradients"}),
        ("norms", HiddenState, {"state_dict_round_trip"}),
        ("norms", NoCopies, {"deep_copy"}),
        ("norms", Undecided, {"exports"}),
        ("mixers", deaf_to(mask=None), {"mask"}),
        ("mixers", deaf_to(bias=None), {"bias"}),
        ("mixers", deaf_to(memory=None), {"memory"}),
        ("mixers", deaf_to(causal=False), {"mask", "causal"}),
        ("mixers", deaf_to(lengths=None), {"layouts"}),
        ("mixers", deaf_to(cu_seqlens=None), {"layouts"}),
        ("mixers", refusing("mask", message="not like this"), {"mask"}),
        ("mixers", refusing("mask", "bias", "causal", "memory", "lengths", "cu_seqlens"), set()),
    ],
)
def test_each_broken_contract_is_noticed_and_no_other(family, cls, expected):
    assert broken(family, cls) == expected


def test_randomness_and_statistics_over_the_batch_are_noticed():
    assert "determinism_in_eval" in broken("norms", RandomNorm)
    assert {"batch_independence", "layouts"} <= broken("norms", OverTheBatch)


def test_a_sound_part_passes_and_a_class_in_no_catalog_is_named():
    check_part("mixers", Full, key_heads=1)
    with pytest.raises(
        AssertionError, match=r"NoCopies breaks 2 contracts\n  json_round_trip: .*no catalog.*\n  deep_copy: "
    ):
        check_part("norms", NoCopies)


def test_an_unknown_family_raises():
    with pytest.raises(ValueError, match="no checks for the family 'tasks'; there are: attention, mixers"):
        check_part("tasks", LayerNorm)


def test_a_required_keyword_that_no_table_knows_raises_until_it_is_given():
    class Windowed(LayerNorm):
        def __init__(self, dim: int, *, window: int) -> None:
            super().__init__(dim)

    with pytest.raises(ValueError, match="Windowed needs window: give a value to the check"):
        check_part("norms", Windowed)
    assert broken("norms", Windowed, window=2) == set()
