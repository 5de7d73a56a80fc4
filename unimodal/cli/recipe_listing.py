"""Recipe listing: what each recipe is, what it builds, how large that is, and whose weights come into it."""

import inspect
import re
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["recipe_listing"]

_HEADER = ("name", "core", "parameters", "mult-adds", "arXiv")


@dataclass(frozen=True)
class Row:
    """What is told of a recipe; words that nobody knows are empty."""

    name: str
    what: str
    core: str = ""
    parameters: str = ""
    multiply_adds: str = ""
    paper: str = ""
    weights: str = ""
    provider: str = ""


def recipe_listing(
    recipes: Mapping[str, Any], what: Callable[[Any], str], provider: Callable[[str], str], width: int
) -> Iterator[str]:
    """The lines of ``unimodal list recipes``: figures of the default size, then what it does.

    Args:
        recipes: By name.
        what: What a recipe does, in a sentence.
        provider: The distribution that a recipe comes from.
        width: Columns of the screen.

    Cost: each recipe is built and its multiply-adds are counted on the meta device: a tenth of a second.
    """
    from unimodal.cli.progress import progress

    rows, began = [], time.monotonic()
    with progress("recipes") as tell:
        for name, recipe in recipes.items():
            owner = provider(name)
            rows.append(_row(name, recipe, what(recipe), "" if owner == "unimodal" else owner))
            rate = len(rows) / max(time.monotonic() - began, 1e-3)
            tell(len(rows), len(recipes), rate, (len(recipes) - len(rows)) / rate, name)
    figures = [_HEADER, *((row.name, row.core, row.parameters, row.multiply_adds, row.paper) for row in rows)]
    widths = [max(len(words[i]) for words in figures) for i in range(len(_HEADER))]
    yield _line(_HEADER, widths)
    for row, words in zip(rows, figures[1:], strict=True):
        yield _line(words, widths)
        told = (row.what, f"Weights: {row.weights}." * bool(row.weights), f"From {row.provider}." * bool(row.provider))
        words = " ".join(word for word in told if word)
        yield from textwrap.wrap(words, max(width, 40), initial_indent="    ", subsequent_indent="    ")
    yield ""
    yield "Of the default size and one picture of the recipe's own size; others: unimodal.recipes.NAME."


def _line(words: Sequence[str], widths: Sequence[int]) -> str:
    right = (2, 3)
    padded = [w.rjust(n) if i in right else w.ljust(n) for i, (w, n) in enumerate(zip(words, widths, strict=True))]
    return "  ".join(padded).rstrip()


def _row(name: str, recipe: Any, what: str, provider: str) -> Row:
    core, parameters, multiply_adds = _sizes(recipe)
    words = inspect.getdoc(inspect.getmodule(recipe)) or ""
    papers = re.findall(r"arXiv:(\d{4}\.\d{4,5})", words.partition("Source:")[2])
    paper = papers[0] if papers else ""
    return Row(
        *(name, what, core, parameters, multiply_adds),
        paper=paper,
        weights=", ".join(_libraries(name, recipe, paper)),
        provider=provider,
    )


def _sizes(recipe: Any) -> tuple[str, str, str]:
    """The core's name, parameters and multiply-adds of a recipe that needs no arguments: built without memory."""
    import torch

    from unimodal.model import Model
    from unimodal.multiply_adds import multiply_adds
    from unimodal.part import Part
    from unimodal.sample import Batch

    if _needs(recipe):
        return "", "", ""
    core = parameters = counted = ""
    try:
        with torch.device("meta"):
            part = recipe()
            inner = part.kwargs["transformer"] if part.cls is Model else part
            core = re.sub(r"(?<!^)(?=[A-Z])", " ", inner.cls.__name__).lower() if isinstance(inner, Part) else ""
            model: Any = part().eval()
            parameters = f"{sum(p.numel() for p in model.parameters()):,}"
            if isinstance(model, Model) and "image" in model.tokenizers:
                tokenizer: Any = model.tokenizer("image")
                pixels = torch.zeros(1, tokenizer.stem.channels, *tokenizer.size)
                call = model if model.readout is None else model.embed
                counted = f"{multiply_adds(call, Batch('image', pixels)) / 1e9:.3g} G"
    except Exception:  # a size is a courtesy: the list goes on without it
        pass
    return core, parameters, counted


def _libraries(name: str, recipe: Any, paper: str) -> list[str]:
    """Whose published weights come into the recipe.

    A converter belongs to the recipe whose name and a library's make up its own; to every recipe that it calls; and to
    a recipe that is a form of one that it calls, if its sources name that form's paper.
    """
    from unimodal.catalog import catalog
    from unimodal.pretrained import LIBRARIES

    recipes, found = set(catalog("recipes").usable().values()), set()
    forms = {base for base in recipes & _members(recipe) if base is not recipe and not _needs(base)}
    for converter, convert in catalog("converters").usable().items():
        library = next((known for known in LIBRARIES if converter.endswith(f"_{known}")), "")
        called, sources = recipes & _members(convert), inspect.getdoc(inspect.getmodule(convert)) or ""
        if converter == f"{name}_{library}" or recipe in called or (forms & called and paper and paper in sources):
            found.add(library)
    return sorted(found - {""})


def _members(part: Any) -> set[Any]:
    """The functions that a part's file knows."""
    return {value for value in vars(inspect.getmodule(part)).values() if inspect.isfunction(value)}


def _needs(recipe: Any) -> bool:
    return any(p.default is p.empty for p in inspect.signature(recipe).parameters.values())
