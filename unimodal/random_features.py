"""Random features: positive features whose inner products estimate exp(q k).

Source: Choromanski et al. 2020, arXiv:2009.14794, eq. 5 (the features), sec. 2.4 (orthogonal rows).
Axes: K key width, R features.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["log_features", "orthogonal_rows"]


@cache
def orthogonal_rows(features: int, width: int, seed: int, *, gaussian: bool = True) -> np.ndarray:
    """Random directions (R, K), orthogonal to each other within every K of them; one seed gives the same ones.

    Args:
        features: R.
        width: K.
        seed: Of the draw.
        gaussian: Whether each row is as long as a Gaussian vector, so that it is distributed as one (which makes the
            features unbiased); otherwise each has length one.
    """
    draw = np.random.default_rng(seed)
    blocks = []
    for _ in range(0, features, width):
        q, r = np.linalg.qr(draw.standard_normal((width, width)))
        blocks.append(q * np.sign(np.diag(r)))  # without the signs the directions are not evenly spread
    rows = np.concatenate(blocks)[:features]
    lengths = np.linalg.norm(draw.standard_normal((features, width)), axis=1, keepdims=True)
    return (rows * lengths if gaussian else rows).astype(np.float32)


def log_features(x: Tensor, rows: Tensor) -> Tensor:
    """log phi(x) = W x - |x|^2 / 2 - log(R) / 2, in float32 (float64 for float64).

    For rows w that are distributed as Gaussian vectors, E[phi(q) phi(k)] = exp(q k).

    Shapes:
        x: (..., K);  rows: (R, K);  returns (..., R).
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    rows = rows.to(x)
    return x @ rows.mT - x.square().sum(-1, keepdim=True) / 2 - 0.5 * float(np.log(rows.shape[0]))
