"""Provenance speaks of every parameter, by the longest prefix of its name."""

import copy

import pytest
import torch.nn as nn

from unimodal.provenance import Provenance


def model():
    return nn.ModuleDict(
        {"core": nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}), "corex": nn.Linear(1, 1)}
    )


def test_the_longest_prefix_decides():
    told = Provenance({"": "trained", "core": "converted", "core.b.weight": "random"})
    assert told.status("core.a.weight") == "converted"
    assert told.status("core.b.weight") == "random"
    assert told.status("core.b.bias") == "converted"


def test_a_prefix_ends_at_a_dot():
    assert Provenance({"core": "trained"}).status("corex.weight") is None


def test_a_model_that_was_only_built_is_random():
    assert Provenance.of(model()).random(model()) == ["the whole model"]


def test_a_model_says_what_was_attached():
    built, told = model(), Provenance({"": "trained", "core.a": "random"}, "here")
    told.attach(built)
    assert Provenance.of(built) == told
    assert told.random(built) == ["core.a"]
    assert Provenance(**told.to_json()) == told


def test_a_rest_that_is_random_is_called_so():
    assert Provenance({"": "random", "core": "trained"}).random(model()) == ["the rest"]


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="status of 'a' must be one of trained, converted, random, not 'good'"):
        Provenance({"a": "good"})


def test_a_parameter_without_status_is_refused():
    with pytest.raises(ValueError, match=r"no status for corex\.weight"):
        Provenance({"core": "trained"}).attach(model())


def test_a_prefix_without_parameter_is_refused():
    with pytest.raises(ValueError, match="no parameter begins with 'readout'"):
        Provenance({"": "trained", "readout": "random"}).attach(model())


def test_a_copied_model_still_says_it():
    built, told = model(), Provenance({"": "trained"}, "here")
    told.attach(built)
    assert Provenance.of(copy.deepcopy(built)) == told
