"""Detection: which modality a file is of, by its name and its first bytes, from what the tokenizers say they read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unimodal.catalog import catalog
from unimodal.errors import InputError

__all__ = ["modality_of"]

_NAMED = 0.5  # a claim by the suffix alone


def modality_of(path: str | Path, among: Iterable[str] | None = None) -> str:
    """The tokenizer that is surest of a file or folder.

    A tokenizer is asked if the file has one of its ``suffixes``; if the file has none that anybody lists, all that
    can tell from content (``claims``) are asked.

    Args:
        path: A file or folder.
        among: Catalog names to choose from; None means all that import.

    Raises:
        InputError: the path does not exist, nobody reads it, or two tokenizers are equally sure.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(str(path), "does not exist")
    tokenizers: dict[str, Any] = catalog("tokenizers").usable()
    if among is not None:
        tokenizers = {name: tokenizers[name] for name in among if name in tokenizers}
    name = path.name.lower()
    by_suffix = {k: t for k, t in tokenizers.items() if name.endswith(tuple(getattr(t, "suffixes", ())) or "\0")}
    asked = by_suffix if by_suffix and path.is_file() else {k: t for k, t in tokenizers.items() if hasattr(t, "claims")}
    sure = {k: float(t.claims(path)) if hasattr(t, "claims") else _NAMED for k, t in asked.items()}
    if not by_suffix or not path.is_file():
        sure = {k: claim for k, claim in sure.items() if claim > _NAMED}  # nothing but content speaks for it
    best = sorted(sure, key=lambda k: -sure[k])
    if not best or sure[best[0]] <= 0:
        kind = "a folder" if path.is_dir() else f"a file ending in {path.suffix!r}" if path.suffix else "this file"
        raise InputError(str(path), f"no tokenizer knows {kind}", f"say what it is: {', '.join(tokenizers)}")
    if len(best) > 1 and sure[best[1]] == sure[best[0]]:
        tied = " or ".join(k for k in best if sure[k] == sure[best[0]])
        raise InputError(str(path), f"may be {tied}", "say which")
    return best[0]
