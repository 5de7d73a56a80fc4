"""Sound claim: how sure it is, by its first bytes, that a file is a sound."""

from pathlib import Path

from unimodal.reading.sound_container import container_form

__all__ = ["sound_claim"]

_SOUND = ("mp3", "aac", "wav", "flac", "aiff", "caf", "ac3", "amr", "wv", "tta", "ape")
_OTHER_SOUND = (b".snd", b"riff\x2e\x91\xcf\x11", b"RF64", b"Creative Voice File", b"NIST_1A")
_EITHER = ("mov", "matroska", "asf")  # as often a video


def sound_claim(path: Path) -> float:
    """0.9 for formats of sounds, 0.6 for a container under a sound's suffix, 0.3 under another, 0.05 for the rest."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            form = container_form(head, file)
    except (OSError, ValueError):
        return 0.5
    if form == "ogg":
        return 0.2 if b"theora" in head else 0.9
    if form == "mov" and head[8:12] in (b"M4A ", b"M4B "):
        return 0.9
    if form in _EITHER:
        return 0.6 if path.suffix.lower() in (".m4a", ".mka", ".weba", ".wma") else 0.3
    return 0.9 if form in _SOUND or any(head.startswith(magic) for magic in _OTHER_SOUND) else 0.05
