"""Published by Point-MAE's code: the state dict of a model as ``model.safetensors``, its settings as ``config.json``.

The code publishes pickled ``.pth`` files, which are never opened here; README of github.com/Pang-Yatian/Point-MAE.
"""

from pathlib import Path

from unimodal.checkpoint import read_config
from unimodal.conversion import Published
from unimodal.errors import CheckpointError
from unimodal.hub import Repository
from unimodal.weights_file import read_weights

__all__ = ["read"]

_NAMES = ("PointTransformer", "Point_MAE")
_REMEDY = (
    "where you trust the .pth file, save its 'base_model' with safetensors.torch.save_file as model.safetensors, and "
    "the section 'model' of its YAML settings as config.json beside it"
)


def read(name: str) -> Published:
    """A folder (or hub id) with ``config.json`` and ``model.safetensors``.

    The settings are those of the section ``model`` in the code's YAML files (``NAME``, ``trans_dim``, ``depth`` ...),
    alone or under ``model`` beside ``npoints``. Names of tensors may begin with ``module.``, as training on several
    devices leaves them.

    Raises:
        CheckpointError: files are missing, damaged or pickled, or the settings name another model.
    """
    if Path(name).suffix in (".pth", ".pt", ".pkl", ".tar"):
        raise CheckpointError(name, "a pickled checkpoint can run code when it is opened, so it is never read", _REMEDY)
    repository = Repository(name)
    weights_path = repository.find("model.safetensors")
    if repository.folder is not None and weights_path is None:
        found = ", ".join(sorted(path.name for path in repository.folder.glob("*.pth")))
        cause = f"has no model.safetensors{f' (pickled weights are never opened: {found})' if found else ''}"
        raise CheckpointError(name, cause, _REMEDY)
    path = repository.file("config.json")
    raw = read_config(path)
    section = raw.get("model", raw)
    if not isinstance(section, dict) or section.get("NAME") not in _NAMES:
        given = section.get("NAME") if isinstance(section, dict) else section
        raise CheckpointError(path, f"NAME is {given!r}", f"it may be {' or '.join(_NAMES)}")
    weights = read_weights(weights_path or repository.file("model.safetensors"))
    return Published(
        library="point_mae",
        family="point_transformer",
        source=f"point_mae:{name}",
        config={"npoints": raw.get("npoints"), **section},
        weights={key.removeprefix("module."): tensor for key, tensor in weights.items()},
    )
