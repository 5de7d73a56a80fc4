"""Setting word: ``NAME=VALUE`` as people write it on a command line, as a name and a value."""

import json
from typing import Any

__all__ = ["setting_word"]


def setting_word(word: str, where: str) -> tuple[str, Any]:
    """The name and the value, which is JSON if it can be (a list becomes a tuple), else a word.

    Args:
        where: What takes such words, for the error.

    Raises:
        ValueError: there is no ``=``.
    """
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"{where} takes NAME=VALUE, not {word!r}")
    try:
        found = json.loads(value)
    except json.JSONDecodeError:
        found = value
    return name, tuple(found) if isinstance(found, list) else found
