"""Failure: any error as one line for a person and an exit code for a program."""

from dataclasses import dataclass

from unimodal.errors import CheckpointError, InputError, UnknownNameError

__all__ = ["Failure", "failure"]


@dataclass(frozen=True)
class Failure:
    """What is written to stderr, and the exit code."""

    line: str
    code: int


def failure(error: BaseException) -> Failure:
    """What a user is told about ``error``."""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return Failure("interrupted\n", 130)
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(cause, BrokenPipeError):
        return Failure("", 141)  # who reads the output has seen enough (``| head``); shells give 128 + SIGPIPE
    if (message := getattr(error, "format_message", None)) is not None:  # the command line's own usage errors
        return Failure(_line(message()) if message() else "", getattr(error, "exit_code", 2))
    if isinstance(error, InputError | CheckpointError | ImportError):
        return Failure(_line(str(error)), 3)
    if isinstance(error, UnknownNameError | ValueError):
        return Failure(_line(str(error)), 2)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(_line(f"{where}{error.strerror or error}"), 3)
    return Failure(_line(f"{type(error).__name__}: {error} (--debug shows where)"), 3)


def _line(words: str) -> str:
    return f"error: {' '.join(words.split())}\n"
