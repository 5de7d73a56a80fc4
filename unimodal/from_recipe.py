"""From recipe: an encoder that is written in one word, to be trained from random weights."""

import inspect
import re
from typing import Any

from unimodal.catalog import catalog
from unimodal.errors import UnknownNameError
from unimodal.model import Model
from unimodal.part import Part
from unimodal.setting_word import setting_word

__all__ = ["from_recipe"]


def from_recipe(spec: str) -> "Part[Model]":
    """The Part of ``recipe:NAME[/SIZE][,SETTING=VALUE ...]``.

        recipe:convnext                      the recipe's own size
        recipe:convnext/atto                 another of its sizes
        recipe:convnext/atto,image=64        with a setting of the recipe's, in JSON or as a word

    Raises:
        UnknownNameError: no such recipe or setting (the message suggests neighbours).
        ValueError: the recipe refuses a value, needs a setting that is not given, or builds no model of inputs; or
            classes are given, which are the task's.
    """
    told, *words = re.split(r",(?![^\[]*\])", spec.removeprefix("recipe:"))
    name, slash, size = told.partition("/")
    recipe: Any = catalog("recipes")[name]
    parameters = inspect.signature(recipe).parameters
    settings = dict(setting_word(word, f"the recipe {name!r}") for word in words)
    settings |= {"size": size} if slash else {}
    for setting in settings:
        if setting not in parameters:
            raise UnknownNameError(f"setting of the recipe {name!r}", setting, parameters)
    if settings.get("classes") is not None:
        raise ValueError(f"classes={settings['classes']} are the task's to know; {spec} is its encoder without them")
    needed = [n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if missing := [n for n in needed if n not in settings]:
        raise ValueError(f"the recipe {name!r} needs {', '.join(missing)}: recipe:{name},{missing[0]}=VALUE")
    try:
        part = recipe(**settings)
    except TypeError as error:
        raise ValueError(f"{spec} cannot be built: {error}") from error
    if not isinstance(part, Part) or part.cls is not Model:
        raise ValueError(f"the recipe {name!r} builds no model that reads inputs")
    return part
