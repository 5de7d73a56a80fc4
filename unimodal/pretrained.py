"""Pretrained: one name, one line, one model, wherever its weights were published."""

import importlib
from pathlib import Path
from typing import Any

import torch.nn as nn

from unimodal.catalog import catalog
from unimodal.checkpoint import Info, count, load_checkpoint
from unimodal.conversion import Conversion, Published, realise
from unimodal.coverage import load_strictly
from unimodal.errors import CheckpointError, UnknownNameError
from unimodal.provenance import Provenance

__all__ = ["load", "load_with_info"]

LIBRARIES = ("timm", "transformers", "open_clip", "point_mae")
EMBEDDED = Path(__file__).parent / "weights"


def load(spec: str | Path, *, tower: str | None = None, allow_random: bool = False) -> Any:
    """The model that ``spec`` names, in evaluation mode, on the CPU, in float32.

        timm:NAME                     a name in timm's registry, a hub id, or a folder
        open_clip:ARCH/PRETRAINED     a pair in open_clip's registry, a hub id, or a folder
        transformers:OWNER/NAME       a hub id or a folder
        point_mae:FOLDER              the state dict and settings of Point-MAE's code
        unimodal:NAME                 weights that come with this package
        OWNER/NAME or a folder        a checkpoint of this suite

    Args:
        spec: See above. Folders hold what the library's own export writes; a hub id may end in ``@revision``.
        tower: ``image`` or ``text``, of a published pair; the image tower by default.
        allow_random: Whether parts that nobody trained may come along.

    Raises:
        CheckpointError: files are missing, damaged or pickled, tensors are left over or absent (with a coverage
            report), the hub cannot be reached, or a part is random and ``allow_random`` is False.
        UnknownNameError: no such name, architecture or tower.
        MissingExtraError: the library that knows the published format is not installed.
    """
    return load_with_info(spec, tower=tower, allow_random=allow_random)[0]


def load_with_info(spec: str | Path, *, tower: str | None = None, allow_random: bool = False) -> tuple[nn.Module, Info]:
    """As :func:`load`, with what is known about the model."""
    library, _, name = str(spec).partition(":")
    if library in LIBRARIES and not Path(spec).is_dir():
        published = importlib.import_module(f"unimodal.published.{library}").read(name)
        return convert(published, tower=tower)
    if tower is not None:
        raise CheckpointError(spec, f"tower={tower!r} is for published pairs; this checkpoint holds one model")
    if library == "recipe":
        remedy = f"train it: unimodal train TASK DATA --encoder {spec} --out OUT"
        raise CheckpointError(spec, "is made from scratch, so there are no weights to load", remedy)
    if library == "unimodal":
        embedded = sorted(p.name for p in EMBEDDED.iterdir() if p.is_dir()) if EMBEDDED.is_dir() else []
        if name not in embedded:
            raise UnknownNameError("weights in this package", name, embedded)
        return load_checkpoint(EMBEDDED / name, allow_random=allow_random)
    return load_checkpoint(spec, allow_random=allow_random)


def convert(published: Published, *, tower: str | None = None) -> tuple[nn.Module, Info]:
    """Build one tower of a published model through its converter, ``<family>_<library>``.

    Raises:
        CheckpointError, UnknownNameError: as :func:`load`.
    """
    conversion: Conversion = catalog("converters")[f"{published.family}_{published.library}"](published)
    weights = realise(published, conversion)
    name = tower or next(iter(conversion.towers))
    if name not in conversion.towers:
        raise UnknownNameError(f"tower in {published.source}", name, conversion.towers)
    part = conversion.towers[name].part
    model = part()
    load_strictly(model, weights[name], published.source)
    provenance = Provenance({"": "converted"}, published.source)
    provenance.attach(model)
    card = {"conversion": _account(published, conversion, weights)}
    return model.eval(), Info(published.source, part, provenance, card, count(model))


def _account(published: Published, conversion: Conversion, weights: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Where every published parameter went: published = converted - added + folded + set aside.

    What a peer computes or leaves out and ours stores (a table of waves, biases of zero) is *added*.
    """
    aside = {name: why for name, why in conversion.aside.items() if name in published.weights}
    total = sum(tensor.numel() for tensor in published.weights.values())
    converted = {name: sum(t.numel() for t in tensors.values()) for name, tensors in weights.items()}
    set_aside = sum(published.weights[name].numel() for name in aside)
    folded = total - sum(converted.values()) - set_aside
    scalars = {name: published.weights[name].item() for name in aside if published.weights[name].numel() == 1}
    return {
        "converter": f"{published.family}_{published.library}",
        "published": total,
        "converted": converted,
        "folded": max(folded, 0),
        "added": max(-folded, 0),
        "set aside": aside,
        "scalars": scalars,
    }
