"""Adapted: a copy of a model of which little is trained, and how much that is."""

from dataclasses import dataclass

import torch.nn as nn

__all__ = ["Adapted"]


@dataclass(frozen=True, eq=False)
class Adapted:
    """What a verb made that lets a model learn something else by a few parameters.

    Args:
        model: The copy, with what was added; what is frozen needs no gradient.
        total: Parameters of the model as it was.
    """

    model: nn.Module
    total: int

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters of the copy that are trained."""
        return tuple(name for name, p in self.model.named_parameters() if p.requires_grad)

    @property
    def trained(self) -> int:
        """How many numbers these are."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)
