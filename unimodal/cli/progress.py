"""Progress on stderr: a bar with rate and time left on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]

_EVERY_S = 5.0


@contextmanager
def progress(word: str) -> Iterator[Callable[[int, int, float, float, str], None]]:
    """Yields ``tell(done, total, rate_hz, left_s, more)``.

    Args:
        word: What is counted, as a plural.
    """
    if not sys.stderr.isatty():
        yield _lines(word)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(f"{word}  {{task.fields[rate]}}  {{task.fields[more]}}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task(word, total=None, rate="", more="")
        shown = 0.0

        def tell(done: int, total: int, rate_hz: float, left_s: float, more: str) -> None:
            nonlocal shown
            if done < total and time.monotonic() - shown < 0.1:
                return
            shown = time.monotonic()
            bar.update(row, completed=done, total=total, rate=f"{_rate(rate_hz)}, {_span(left_s)} left", more=more)

        yield tell


def _lines(word: str) -> Callable[[int, int, float, float, str], None]:
    told = time.monotonic()

    def tell(done: int, total: int, rate_hz: float, left_s: float, more: str) -> None:
        nonlocal told
        if time.monotonic() - told >= _EVERY_S:
            told = time.monotonic()
            words = f"{done}/{total} {word}, {_rate(rate_hz)}, {_span(left_s)} left"
            sys.stderr.write(f"{words}, {more}\n" if more else f"{words}\n")
            sys.stderr.flush()

    return tell


def _rate(rate_hz: float) -> str:
    return f"{rate_hz:.0f}/s" if rate_hz >= 10 else f"{rate_hz:.2g}/s"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
