"""Random features: positive features whose inner products estimate exp(q k), and attention in linear time over them.

Source: Choromanski et al. 2020, arXiv:2009.14794, eq. 5 (the features), sec. 2.4 (orthogonal rows), eq. 2-3 (order of
multiplication).
Axes: B batch, H heads, N queries, M keys, K key width, V value width, R features.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from unimodal.masks import keys_within
from unimodal.side import Side

__all__ = ["linear_attention", "log_features", "orthogonal_rows"]


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


def linear_attention(phi_q: Tensor, phi_k: Tensor, v: Tensor, side: Side, *, eps: float = 0.0) -> Tensor:
    """o_n = phi(q_n) (sum_m phi(k_m) v_m^T) / (phi(q_n) sum_m phi(k_m) + eps), in v's dtype.

    A denominator that is zero in floating point gives 0.

    Shapes:
        phi_q: (B, H, N, R);  phi_k: (B, H, M, R);  v: (B, H, M, V);  returns (B, H, N, V).

    Cost: O(B H (N + M) R V) time, O(B H R V) memory besides the features.
    """
    if side.cu_seqlens is not None:
        sizes = side.cu_seqlens.diff().tolist()
        parts = zip(phi_q.split(sizes, 2), phi_k.split(sizes, 2), v.split(sizes, 2), strict=True)
        return torch.cat([linear_attention(q, k, of_k, Side(), eps=eps) for q, k, of_k in parts], dim=2)
    if side.lengths is not None:
        phi_k = phi_k.masked_fill(~keys_within(side.lengths, phi_k.shape[2]).mT, 0.0)
        v = v.masked_fill(~keys_within(side.lengths, v.shape[2]).mT, 0.0)
    memory_BHRV = phi_k.mT @ v.to(phi_k.dtype)
    total_BHN1 = phi_q @ phi_k.sum(2)[..., None] + eps
    return (phi_q @ memory_BHRV / total_BHN1.where(total_BHN1 > 0, 1.0)).to(v.dtype)
