"""Interleaved latents: how a spec is read, and what is refused."""

from typing import Any

import pytest
import torch

from unimodal.recipes.fit import fit
from unimodal.side import Side
from unimodal.tokens import Tokens

DIM = 6


def core(spec: str, **changes: Any) -> Any:
    return fit(**{"spec": spec, "groups": 3, "slots": 4, "latents": 2, "heads": 2, **changes})(DIM).double().eval()


@pytest.mark.parametrize("spec, layers", [("(2)4(2)", ((2, 4), (2, 0))), ("(0)1", ((0, 1),)), ("(12)", ((12, 0),))])
def test_a_spec_is_read(spec, layers):
    assert core(spec).layers == layers


@pytest.mark.parametrize("spec", ["", "2(4)", "(2)4(2", "(2)-1", "(a)2", "(2) 4", "4"])
def test_a_malformed_spec_is_refused(spec):
    with pytest.raises(ValueError, match="spec is written like"):
        core(spec)


def test_a_stage_without_global_layers_before_the_last_is_refused():
    with pytest.raises(ValueError, match="only the last stage may be without global layers"):
        core("(2)0(2)")


@pytest.mark.parametrize("change", [{"groups": 0}, {"slots": 0}, {"slots": (2, 0)}])
def test_sizes_that_are_not_positive_are_refused(change):
    with pytest.raises(ValueError, match="sizes must be positive"):
        core("(1)", **change)


def test_no_latents_are_refused():
    with pytest.raises(ValueError, match="latents must be positive, not 0"):
        core("(1)", latents=0)


def test_causal_latents_as_the_result_are_refused():
    with pytest.raises(ValueError, match="no causal result"):
        core("(1)1")(Tokens(torch.randn(1, 4, DIM).double(), Side(causal=True)))


@pytest.mark.parametrize("depths", [[1, 0], [3], [-1]])
def test_depths_that_do_not_exist_are_refused(depths):
    with pytest.raises(ValueError, match="depths must ascend within 0..2"):
        core("(1)1(1)").features(Tokens(torch.randn(1, 4, DIM).double()), depths)


@pytest.mark.parametrize("name", ["mask", "bias", "memory"])
def test_constraints_of_pairs_and_a_memory_nothing_reads_are_refused_by_name(name):
    x = torch.randn(1, 4, DIM).double()
    sides = {"mask": Side(mask=torch.ones(4, 4) > 0), "bias": Side(bias=x[:, :, :4]), "memory": Side(memory=Tokens(x))}
    with pytest.raises(ValueError, match=f"'{name}'"):
        core("(1)1(1)")(Tokens(x, sides[name]))
