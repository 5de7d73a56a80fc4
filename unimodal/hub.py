"""Hub: files of a published model, from a local folder or through huggingface_hub's cache and client."""

from dataclasses import dataclass
from pathlib import Path

from unimodal.errors import CheckpointError

__all__ = ["Repository"]


@dataclass(frozen=True)
class Repository:
    """A folder on this machine or ``owner/name[@revision]`` on the hub; the same questions to both.

    Args:
        source: The folder or hub id, as the user wrote it.

    Raises:
        CheckpointError: a file is asked for that is not there, or the hub cannot be reached.
    """

    source: str

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a hub id."""
        path = Path(self.source).expanduser()
        return path if path.is_dir() else None

    def file(self, *names: str) -> Path:
        """The first of ``names`` that exists."""
        unreachable = None
        for name in names:
            try:
                if (path := self._path(name)) is not None:
                    return path
            except CheckpointError as error:
                unreachable = unreachable or error
        if unreachable is not None:
            raise unreachable
        if self.folder is None and not _is_hub_id(self.source):
            raise CheckpointError(self.source, "no such folder, and not a hub id of the form owner/name")
        raise CheckpointError(self.source, f"has no {' or '.join(names)}{self._pickles()}")

    def find(self, name: str) -> Path | None:
        """The file called ``name``, or None if there is none (or none in the cache of a machine without network)."""
        try:
            return self._path(name)
        except CheckpointError:
            return None

    def _path(self, name: str) -> Path | None:
        if self.folder is not None:
            path = self.folder / name
            return path if path.is_file() else None
        return _download(self.source, name) if _is_hub_id(self.source) else None

    def _pickles(self) -> str:
        found = [] if self.folder is None else sorted(p.name for p in self.folder.glob("*.bin"))
        found += [] if self.folder is None else sorted(p.name for p in self.folder.glob("*.p*t*"))
        return f" (pickled weights are never opened: {', '.join(found)})" if found else ""


def _is_hub_id(source: str) -> bool:
    name, _, _ = source.partition("@")
    words = name.split("/")
    return len(words) == 2 and all(word and not word.startswith((".", "~")) for word in words)


def _download(source: str, filename: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = source.partition("@")
    try:
        return Path(hf_hub_download(name, filename, revision=revision or None))
    except LocalEntryNotFoundError as error:
        cause = f"{filename} is not in the local cache and the hub cannot be reached"
        raise CheckpointError(source, cause, "connect this machine, or give a local folder") from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(source, f"{filename} cannot be fetched from the hub ({error})") from error
