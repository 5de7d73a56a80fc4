"""Inflation: a model of clips from the weights of a model of pictures, whose kernels get an axis of time.

Source: Carreira & Zisserman 2017, arXiv:1705.07750, sec. 2.4 (repeated along time and divided by its length); as used
here: Li et al. 2022, arXiv:2201.04676, and its code github.com/Sense-X/UniFormer,
video_classification/slowfast/models/uniformer.py, inflate_weight (also the middle alone).
Axes: D outputs, C inputs, T frames of a kernel, Y X its rows and columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.coverage import cover
from unimodal.part import Part

__all__ = ["inflate"]


@dataclass(frozen=True)
class Inflation:
    """A model of clips, and by name where each of its tensors comes from.

    Args:
        model: The built model.
        copied: As they were in the model of pictures: linear maps, norms, convolutions of one frame's axes.
        inflated: Kernels that got an axis of time.
        own: As the model of clips was built.
        dropped: Names of tensors of pictures that it has no use for.
    """

    model: nn.Module
    copied: tuple[str, ...]
    inflated: tuple[str, ...]
    own: tuple[str, ...]
    dropped: tuple[str, ...]


def inflate(
    weights: Mapping[str, Tensor], part: Part[nn.Module], *, centre: bool = False, own: tuple[str, ...] = ()
) -> Inflation:
    """Build ``part`` with the weights of its sibling for pictures; everything must find its place.

        W'[d, c, t] = W[d, c] / T  for all t,   or with ``centre``   W'[d, c, T // 2] = W[d, c] and 0 elsewhere

    So a clip whose frames are all the same picture has that picture's features where no kernel reaches over the
    clip's ends (with the middle alone: everywhere, if a kernel's middle lies on a frame), and global attention among
    equal frames is that within one.

    Args:
        weights: The state of a model of pictures, whose parts have the names of ``part``'s.
        part: A model of clips.
        centre: Whether only the middle frame of a kernel gets the weights.
        own: Beginnings of names that are not taken over, such as the classifier of other classes. What ``part`` has
            there keeps its initial values.

    Raises:
        ValueError: a tensor is missing, left over or of a shape that does not become the other one by an axis of
            time; the message is the coverage report.
    """
    model = part()
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(own)}
    renamed = {name: _of_clips(name) for name in weights}
    given = {new: weights[old] for old, new in renamed.items() if not new.startswith(own)}
    made = {name: _inflated(given[name], like, centre) for name, like in wanted.items() if name in given}
    made |= {name: tensor for name, tensor in given.items() if name not in made}
    shapes = ({name: tuple(tensor.shape) for name, tensor in state.items()} for state in (wanted, made))
    found = cover(*shapes)
    if not found.complete:
        raise ValueError(f"the weights of pictures do not fit the model of clips: {found}")
    model.load_state_dict(made, strict=False)
    inflated = tuple(name for name in wanted if made[name].shape != given[name].shape)
    return Inflation(
        model,
        copied=tuple(name for name in wanted if name not in inflated),
        inflated=inflated,
        own=tuple(name for name in model.state_dict() if name not in wanted),
        dropped=tuple(old for old, new in renamed.items() if new.startswith(own)),
    )


def _inflated(weight: Tensor, like: Tensor, centre: bool) -> Tensor:
    """The kernel with ``like``'s axis of time, or as it is where it has no place for one."""
    if weight.ndim != 4 or like.ndim != 5 or weight.shape != like.shape[:2] + like.shape[3:]:
        return weight
    frames = like.shape[2]
    if not centre:
        return (weight / frames)[:, :, None].expand(like.shape)
    kernel_DCTYX = torch.zeros(like.shape, dtype=weight.dtype, device=weight.device)
    kernel_DCTYX[:, :, frames // 2] = weight
    return kernel_DCTYX


def _of_clips(name: str) -> str:
    """What is called after the modality is called after the other one."""
    for kind in ("tokenizers", "positions", "kinds"):
        if name.startswith(f"{kind}.image"):
            return f"{kind}.video{name.removeprefix(f'{kind}.image')}"
    return name
