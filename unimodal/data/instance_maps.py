"""Pictures with label maps of instances: ``images/NAME.*`` and ``instances/NAME.png``, 1 .. N in up to 16 bits."""

from pathlib import Path
from typing import Any

import numpy as np

from unimodal.data.label_map import read_label_map
from unimodal.data.labelled import pictures_with_maps
from unimodal.instances import Instances
from unimodal.run_lengths import areas, boxes_of, from_label_map

__all__ = ["instance_maps", "read_instances"]


def instance_maps(path: Path) -> list[tuple[Path, Path]]:
    """(picture, label map) pairs of a folder.

    Raises:
        InputError: it is laid out otherwise, or a picture has no map.
    """
    return pictures_with_maps(Path(path), "instances")


def read_instances(source: Any) -> Instances:
    """The instances of a label map, in the order of their numbers, all of the class 0; 0 is background.

    Args:
        source: What :func:`~unimodal.data.label_map.read_label_map` reads.

    Raises:
        InputError: it is no label map.
        MissingExtraError: pycocotools is not installed.
    """
    labels_YX = read_label_map(source)
    masks = from_label_map(labels_YX)
    size = (labels_YX.shape[0], labels_YX.shape[1])
    return Instances(size, boxes_of(masks), np.zeros(len(masks), dtype=np.int64), masks=masks, areas=areas(masks))
