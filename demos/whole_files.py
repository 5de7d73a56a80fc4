"""Whole files: an answer's picture is renamed into place, so that nobody fetches one that is being written anew.

Gradio names the file by a hash of what is in it. Two visitors who get the same picture share the file, and the second
answer truncates it for a moment: a download that is under way breaks off. (Uploaded and copied files are renamed into
place by gradio itself; pictures from memory are not, as of gradio 6.)
"""

import os
from pathlib import Path
from typing import Any

from gradio import processing_utils

__all__ = ["write_whole_files"]


def write_whole_files() -> None:
    """Let gradio write pictures aside and rename them into place, and leave one alone that is there already."""
    processing_utils.save_pil_to_cache = _save


def _save(img: Any, cache_dir: str, name: str = "image", format: str = "webp") -> str:
    content = processing_utils.encode_pil_to_bytes(img, format)
    path = (Path(cache_dir) / processing_utils.hash_bytes(content) / f"{name}.{format}").resolve()
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.exists():
        os.utime(path)  # the cache is swept by age
        return str(path)
    aside = path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}")
    aside.write_bytes(content)
    aside.replace(path)
    return str(path)
