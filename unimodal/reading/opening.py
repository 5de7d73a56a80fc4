"""Opening: any path, bytes or binary file object as one seekable stream, or an error that names it.

Every tokenizer that reads files opens them here, so that a missing, empty or unreadable one is told in the same words.
"""

import io
import os
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from unimodal.errors import InputError

__all__ = ["open_stream", "source_name", "told"]


def open_stream(source: Any, files: ExitStack, *, what: str, also: str = "") -> IO[bytes]:
    """The content of ``source`` as a binary stream that can be sought.

    Args:
        source: A path, encoded bytes or a binary file object.
        files: Closes what is opened here.
        what: What the caller wants to read, with its article ("a picture"), for messages.
        also: Further kinds of sources that the caller takes ("a PIL image, an array"), for messages.

    Raises:
        InputError: it does not exist, is a directory or no regular file, may not be read, is opened as text, or is
            something else altogether.
    """
    name = source_name(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if isinstance(source, str | os.PathLike):
        try:
            kind = os.stat(source).st_mode
            if stat.S_ISDIR(kind):
                raise InputError(name, "is a directory", "give a file in it")
            if not stat.S_ISREG(kind):
                raise InputError(name, "is not a regular file")
            return files.enter_context(Path(os.fsdecode(source)).open("rb"))
        except FileNotFoundError:
            raise InputError(name, "does not exist") from None
        except PermissionError:
            raise InputError(name, "may not be read (permission denied)") from None
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(name, f"cannot be opened ({told(error)})") from error
    if not hasattr(source, "read"):
        takes = f"a path, {also + ', ' if also else ''}bytes or a binary file object"
        raise InputError(name, f"cannot be read as {what} (it is a {type(source).__name__})", f"give {takes}")
    try:
        if hasattr(source, "seek") and isinstance(source.read(0), bytes) and source.seekable():
            return source
        data = source.read()
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(name, f"cannot be read ({told(error)})") from error
    if not isinstance(data, bytes):
        raise InputError(name, "is a file opened as text", "open it with mode 'rb'")
    return io.BytesIO(data)


def source_name(source: Any) -> str:
    """How messages call a source: its path, its size, its type."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source) if isinstance(os.fspath(source), str) else os.fsdecode(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"{len(source)} bytes"
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        return f"array {tuple(source.shape)}"
    return str(getattr(source, "name", type(source).__name__))


def told(error: BaseException) -> str:
    """An error of a decoder in words, on one line: its type and what it says."""
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
