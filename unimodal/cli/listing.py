"""list: what is installed, from this package and from plugins, and which plugins cannot be used and why."""

import inspect
import re
from typing import Annotated, Any

import typer

from unimodal.catalog import FAMILIES, Problem, catalog
from unimodal.cli.recipe_listing import recipe_listing
from unimodal.errors import UnknownNameError

__all__ = ["listing"]


def listing(
    family: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(FAMILIES)}.", show_default=False)] = None,
) -> int:
    """List everything that can be used, by family: name, what it does, and who provides it.

    Of recipes alone also what they build, how large that is, what a picture costs, their paper, and whose published
    weights come into them.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    if family is not None and family not in FAMILIES:
        raise UnknownNameError("family", family, FAMILIES)
    console, problems = Console(), []
    for name in [family] if family else FAMILIES:
        rows, found = _family(name, sizes=family is None)
        problems += found
        if family == "recipes":
            known = catalog("recipes")
            recipes: dict[str, Any] = {row[0]: known[row[0]] for row in rows}
            for line in recipe_listing(recipes, _what, known.source, console.width):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            continue
        sizes = any(size for *_, size in rows)
        others = ["what it does", "source", *(["parameters"] if sizes else [])]
        table = Table(Column("name", no_wrap=True), *others, title=name, title_justify="left")
        for row in rows:
            table.add_row(*(escape(word) for word in (row if sizes else row[:3])))
        if rows:
            console.print(table)
    if problems:
        console.print("cannot be used:", markup=False)
    for problem in problems:
        words = f"  {FAMILIES[problem.family]} {problem.name!r} of {problem.source}: {problem.cause}"
        console.print(words, markup=False, highlight=False, soft_wrap=True)
    return 0


def _family(family: str, *, sizes: bool) -> tuple[list[tuple[str, str, str, str]], list[Problem]]:
    known = catalog(family)
    problems, rows = known.problems(), []
    broken = {problem.name for problem in problems if problem.source == _source(known, problem.name)}
    for name in known.names():
        if name in broken:
            continue
        try:
            part: Any = known[name]
        except (Exception, SystemExit) as error:  # one file of our own must not hide the others
            problems.append(Problem(family, name, known.source(name), f"{type(error).__name__}: {error}"))
            continue
        size = _parameters(part) if family == "recipes" and sizes else ""
        rows.append((name, _what(part), known.source(name), size))
    return rows, problems


def _source(known: Any, name: str) -> str:
    return known.source(name) if name in known else ""


def _what(part: Any) -> str:
    """A task's summary; of a part the first paragraph of its file, which says it in words."""
    module = inspect.getmodule(part)
    words = getattr(part, "summary", None) or (module and module.__doc__) or inspect.getdoc(part) or ""
    paragraph = " ".join(inspect.cleandoc(str(words)).partition("\n\n")[0].split())
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", paragraph)


def _parameters(recipe: Any) -> str:
    """Of a recipe that needs no arguments: built without memory."""
    import torch

    from unimodal.part import Part

    if any(p.default is p.empty for p in inspect.signature(recipe).parameters.values()):
        return ""
    try:
        with torch.device("meta"):
            part = recipe()
            model = part() if isinstance(part, Part) else None
        return f"{sum(p.numel() for p in model.parameters()):,}" if model is not None else ""
    except Exception:  # a size is a courtesy: the list goes on without it
        return ""
