"""Task objects: what one panoptic map asks of each of three tasks, as masks and as a list of texts.

Source: Jain et al. 2022, arXiv:2211.06220, sec. 3.1 and 3.2.
Axes: Y rows, X columns, M objects.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from unimodal.tasks.parts.objects import Objects

__all__ = ["TASKS", "task_objects", "task_texts"]

TASKS = ("semantic", "instance", "panoptic")


def task_objects(segments_YX: Tensor, classes: Mapping[int, int], *, task: str, things: Collection[int]) -> Objects:
    """The objects of one task: semantic a mask a class, instance a mask a thing, panoptic a mask a segment.

    Args:
        segments_YX: A segment's id at each px.
        classes: The class of each id; other ids are void. An id that no px has is no object.
        task: One of :data:`TASKS`.
        things: Classes that can be counted.

    Raises:
        ValueError: an unknown task.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
    kinds: dict[int, list[int]] = {}
    for segment in segments_YX.unique().tolist():
        kind = classes.get(segment)
        if kind is not None and (task != "instance" or kind in things):
            kinds.setdefault(kind if task == "semantic" else segment, []).append(segment)
    masks = [torch.isin(segments_YX, segments_YX.new_tensor(ids)) for ids in kinds.values()]
    stacked = torch.stack(masks) if masks else torch.zeros(0, *segments_YX.shape, dtype=torch.bool)
    wanted = [classes[ids[0]] for ids in kinds.values()]
    return Objects(torch.tensor(wanted, dtype=torch.int64, device=segments_YX.device), masks=stacked)


def task_texts(objects: Objects, names: Sequence[str], *, task: str, count: int) -> list[str]:
    """``count`` texts: "a photo with a NAME" for each object, by class, then "a TASK photo" up to ``count``.

    Objects beyond ``count`` get none. transformers writes "an panoptic photo" and lets the counts of the pictures of a
    batch add up; here, as in the released code, it is "a" and each picture has its own.

    Raises:
        ValueError: an unknown task; fewer than one text.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    article = "an" if task == "instance" else "a"
    texts = [f"a photo with a {names[kind]}" for kind in sorted(objects.classes.tolist())]
    return (texts + [f"{article} {task} photo"] * count)[:count]
