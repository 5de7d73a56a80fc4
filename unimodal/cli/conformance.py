"""conformance: every tokenizer against every check of the contract, as one matrix."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["conformance"]


def conformance(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tokenizers; all of them by default.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the matrix to this Markdown file too.")] = None,
) -> int:
    """Run every tokenizer, plugins too, through every check. Exit code 1 if a cell is red."""
    from rich.console import Console
    from rich.table import Table

    from unimodal.catalog import catalog
    from unimodal.conformance import markdown, matrix
    from unimodal.tokenizer_checks import CHECKS

    console, rows = Console(), []
    known = catalog("tokenizers")
    for name in names or known.names():
        known[name]  # a wrong name is told before anything runs
    table = Table("tokenizer", *CHECKS, box=None, padding=(0, 1, 0, 0))
    for name in names or known.names():
        row = matrix(name)
        rows.append(row)
        table.add_row(name, *(f"[{cell.colour}]{cell.word}[/]" for cell in row.cells))
    console.print(table)
    for row in rows:
        for title, cell in zip(CHECKS, row.cells, strict=True):
            if cell.reason:
                words = f"  {row.name}, {title}: {cell.reason}"
                console.print(words, markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        out.write_text(markdown(rows), encoding="utf-8")
    red = sum(cell.word == "FAILS" for row in rows for cell in row.cells)
    console.print(f"{red} red cells" if red else "no red cell")
    return 1 if red else 0
