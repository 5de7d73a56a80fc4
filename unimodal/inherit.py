"""Inherit: the weights of a plain model, in the model that an adapter was put around it.

Source: a plain vision transformer's published weights under an adapter: Xia et al. 2024, arXiv:2403.07392.
"""

from typing import Any

import torch

from unimodal.model import Model

__all__ = ["inherit"]


def inherit(model: Model, source: Model) -> tuple[str, ...]:
    """Copy the weights of ``source`` into ``model``, in place; the names of the parameters that are new there.

    Each tensor goes to its own name, or to that within the adapter's ``core`` or the tokenizer that an
    :class:`~unimodal.accompanied.Accompanied` has beside another.

    Args:
        model: With a core such as :class:`~unimodal.pyramid_adapter.PyramidAdapter`.
        source: A model of the part that the adapter was put around.

    Raises:
        ValueError: a tensor of the source has no place in the model, or another shape.
    """
    own, taken = model.state_dict(), set()
    for name, tensor in source.state_dict().items():
        family, *rest = name.split(".")
        inside = [family, "core", *rest] if family == "transformer" else [family, *rest[:1], "tokenizer", *rest[1:]]
        place: Any = next((n for n in (".".join(inside), name) if n in own), None)
        if place is None or own[place].shape != tensor.shape:
            found = "no place" if place is None else f"shape {tuple(own[place].shape)}"
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} has {found} in the model")
        with torch.no_grad():
            own[place].copy_(tensor)
        taken.add(place)
    return tuple(name for name, _ in model.named_parameters() if name not in taken)
