"""Fan-in start: a part whose maps begin with values as large as the number of their inputs asks for.

Source: LeCun et al. 1998, Efficient BackProp, sec. 4.6 (a spread of the initial weights by fan-in), in the form that
torch gives every convolution; networks whose convolutions keep it: Li et al. 2022, arXiv:2201.09450, its code
github.com/Sense-X/UniFormer, image_classification/models/uniformer.py (_init_weights changes linear maps alone).
Axes: F inputs of one output of a map.
"""

from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.part import Part

__all__ = ["fan_in_start"]


def fan_in_start(dim: int, *, part: Part) -> Any:
    """What ``part`` makes, its matrices, kernels and their biases drawn from U(-1 / sqrt(F), 1 / sqrt(F)).

    Small numbers of one spread, with which maps begin elsewhere, make the branch of three maps in a row a thousand
    times smaller than what it is added to. Norms and what has no matrix stay as they are.

    Args:
        dim: Width that the part is made for.
        part: Any part of linear maps and convolutions.
    """
    made: Any = part(dim)
    for module in made.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            most = weight[0].numel() ** -0.5
            for tensor in (weight, bias):
                if isinstance(tensor, Tensor):
                    nn.init.uniform_(tensor, -most, most)
    return made
