"""The command line: ``unimodal`` or ``python -m unimodal``. Nothing heavy is imported before a command needs it."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (see ``unimodal --help``)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    from unimodal.cli.application import application
    from unimodal.cli.failure import failure

    before = signal.signal(signal.SIGTERM, _interrupt) if _in_main_thread() else None
    try:
        code = application()(words, prog_name="unimodal", standalone_mode=False)
        if code == 130:  # the application's own way to say that it was interrupted
            sys.stderr.write("interrupted\n")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if debug and not hasattr(error, "format_message"):
            raise
        told = failure(error)
        sys.stderr.write(told.line)
        if told.code == 141:  # what is still unwritten has no reader, and Python would complain at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return told.code
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
