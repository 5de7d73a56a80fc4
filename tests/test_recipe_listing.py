"""unimodal list recipes: computed figures, the papers and weights that are found, and lines that fit the screen."""

from typing import Any

import pytest

from unimodal.catalog import catalog
from unimodal.cli.recipe_listing import recipe_listing
from unimodal.pretrained import LIBRARIES


def lines(*names: str, width: int = 80, recipes: dict[str, Any] | None = None) -> list[str]:
    recipes = {name: catalog("recipes")[name] for name in names} if recipes is None else recipes
    told = recipe_listing(recipes, lambda part: f"What {part.__name__} does.", lambda _: "unimodal", width)
    return list(told)


def told_of(name: str) -> tuple[str, str]:
    """The line of figures and the words below it."""
    _, figures, *words = lines(name)
    return figures, " ".join(words)


def test_a_pyramid_is_told_with_its_size_its_cost_and_its_paper():
    figures, words = told_of("unireplknet")
    assert figures.split() == ["unireplknet", "pyramid", "4,328,060", "0.674", "G", "2311.15599"]
    assert "What unireplknet does." in words


@pytest.mark.parametrize(
    "name, weights",
    [
        ("convnext", "timm, transformers"),
        ("convnext_v2", "timm, transformers"),
        ("tnt", "timm"),
        ("vit", "timm, transformers"),
        ("unireplknet", None),
        ("small_image_encoder", None),
    ],
)
def test_weights_are_those_of_the_recipes_converters(name, weights):
    assert (f"Weights: {weights}." in told_of(name)[1]) if weights else ("Weights:" not in told_of(name)[1])


def test_every_converter_that_has_a_recipes_name_is_told_with_it():
    found = {}
    for converter in catalog("converters"):
        for library in LIBRARIES:
            name = converter.removesuffix(f"_{library}")
            if name != converter and name in catalog("recipes"):
                found.setdefault(name, set()).add(library)
    assert {"convnext", "tnt", "vit"} <= set(found)
    for name, libraries in found.items():
        told = told_of(name)[1].partition("Weights: ")[2].partition(".")[0]
        assert libraries <= set(told.split(", "))


def test_what_nobody_knows_is_left_empty():
    assert told_of("pre_norm")[0].split() == ["pre_norm", "2002.04745"]  # it needs arguments
    assert told_of("itransformer")[0].split() == ["itransformer", "transformer", "816,896", "2310.06625"]  # no pictures


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_screen(width):
    for line in lines("unireplknet", "small_multimodal_encoder", "convnext", "pre_norm", width=width):
        assert len(line) <= (width if line.startswith(" ") else 80 + 12)


def test_a_recipe_that_breaks_and_one_of_a_plugin_do_not_stop_the_list():
    def broken() -> None:
        raise RuntimeError("no")

    told = list(recipe_listing({"broken": broken}, lambda _: "Breaks.", lambda _: "a-plugin", 80))
    assert told[1:3] == ["broken", "    Breaks. From a-plugin."]
