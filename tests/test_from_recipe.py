"""An encoder in one word: the recipe's own, a size, settings, and what is refused by name."""

import pytest

from unimodal.errors import CheckpointError, UnknownNameError
from unimodal.from_recipe import from_recipe
from unimodal.part import Part
from unimodal.pretrained import load
from unimodal.recipes.convnext import convnext
from unimodal.recipes.unireplknet import unireplknet


@pytest.mark.parametrize(
    "spec, part",
    [
        ("recipe:unireplknet", unireplknet()),
        ("recipe:unireplknet/f", unireplknet("f")),
        ("recipe:unireplknet/f,image=64,layer_scale=null", unireplknet("f", image=64, layer_scale=None)),
        ("recipe:convnext,kernels=[3,3,7,7],image=64", convnext(kernels=(3, 3, 7, 7), image=64)),
    ],
)
def test_a_word_is_the_recipes_part(spec: str, part: Part):
    assert from_recipe(spec) == part


@pytest.mark.parametrize(
    "spec, match",
    [
        ("recipe:unireplkent", "no recipe named 'unireplkent'; did you mean 'unireplknet'"),
        ("recipe:unireplknet,imag=64", "no setting of the recipe 'unireplknet' named 'imag'; did you mean 'image'"),
    ],
)
def test_unknown_names_suggest_neighbours(spec: str, match: str):
    with pytest.raises(UnknownNameError, match=match):
        from_recipe(spec)


@pytest.mark.parametrize(
    "spec, match",
    [
        ("recipe:unireplknet/q", "size must be one of a, f, p, n, t, s, b, l, xl, not 'q'"),
        ("recipe:unireplknet,image", "the recipe 'unireplknet' takes NAME=VALUE, not 'image'"),
        ("recipe:unireplknet,image=30", "image must be a multiple of 4 px, not 30"),
        ("recipe:unireplknet,image=wide", "recipe:unireplknet,image=wide cannot be built"),
        ("recipe:unireplknet,classes=10", "classes=10 are the task's to know"),
        ("recipe:pre_norm", "the recipe 'pre_norm' needs .*: recipe:pre_norm,.*=VALUE"),
    ],
)
def test_what_no_encoder_can_be_made_of_is_refused(spec: str, match: str):
    with pytest.raises(ValueError, match=match):
        from_recipe(spec)


def test_a_recipe_of_a_core_alone_reads_nothing():
    with pytest.raises(ValueError, match="the recipe 'transnormer' builds no model that reads inputs"):
        from_recipe("recipe:transnormer")


def test_a_recipe_has_no_weights_to_load():
    with pytest.raises(
        CheckpointError, match="made from scratch.*train it: unimodal train TASK DATA --encoder recipe:"
    ):
        load("recipe:unireplknet")
