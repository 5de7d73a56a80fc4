"""Whole matrix: what a linear map multiplies with, for a reader that needs some of its rows or columns."""

from typing import Any

from torch import Tensor

__all__ = ["whole_matrix"]


def whole_matrix(layer: Any) -> Tensor:
    """The weight, or, of a map that adds to it (a term of low rank), what the map says with ``whole()``."""
    return layer.whole() if hasattr(layer, "whole") else layer.weight
