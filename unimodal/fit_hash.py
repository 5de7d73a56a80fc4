"""Fit hash: the codes of kernel hash attention are learned from the keys of a batch, without labels.

Source: Liu et al. 2022, arXiv:2209.09004, sec. 4 (self-supervised hash functions); greedy bits: Liu et al. 2012,
"Supervised Hashing with Kernels", sec. 3; numbers: github.com/ziplab/EcoFormer, pvt/hashing/ksh.py.
Axes: B batch, H heads, N tokens, K key width, A anchors, R bits, T neighbours.
"""

import inspect
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.kernel_hash import KernelHashAttention
from unimodal.side import Side

__all__ = ["fit_hash"]


def fit_hash(
    model: nn.Module,
    *inputs: Any,
    neighbours: int = 10,
    steps: int = 100,
    rate: float = 0.5,
    momentum: float = 0.9,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Learn the buffers of every :class:`KernelHashAttention` in ``model``, in place, during ``model(*inputs)``.

    Each hash learns from its own keys when the forward pass comes to it, and is in use from there on, so that later
    layers see the codes of earlier ones. Anchors are keys of the batch, means those of the features over it. Labels
    are S_nm = 1 for the T keys that are nearest to n by cosine (itself among them), -1 for the T furthest, else 0. Bit
    r has the objective -y^T (R S - sum of y' y'^T over the bits before it) y / (N R), y = sign(features d_r). From
    a random d_r, ``steps`` of gradient descent (Nesterov) lower it with y = 2 sigmoid(features d_r) - 1; a head keeps
    what it found only if the objective of the signs is lower than with the random d_r.

    In the released code all heads keep or none does, the gradient is that of the mean over the heads and the rate
    5e-4, with which the directions hardly leave where they were drawn; and anchors are keys of the first sequence.

    Args:
        model: Holds attention parts, or is one (then ``inputs`` are q, k and v).
        inputs: Of the forward pass; their batch is what is learned from.
        neighbours: T, at most half of the tokens are taken.
        steps: Of gradient descent for each bit.
        rate: Of the descent.
        momentum: Of the descent.
        seed: Of the choice of anchors and the random directions.

    Returns:
        For each part, by its name, the objective of the signs (R, H, 2): with the random direction, and as kept.

    Raises:
        ValueError: there is no such part, the batch is padded, packed or restricted, or it has fewer keys than there
            are anchors.

    Cost: O(B H N^2 K) once and O(B H N (A + T) steps R), in O(B H N (N + A)) memory.
    """
    parts = {name: part for name, part in model.named_modules() if isinstance(part, KernelHashAttention)}
    if not parts:
        raise ValueError(f"{type(model).__name__} has no KernelHashAttention to fit")
    draw, found, hooks = torch.Generator().manual_seed(seed), {}, []
    for name, part in parts.items():

        def first(part: Any, arguments: tuple[Any, ...], options: dict[str, Any], name: str = name) -> None:
            given = inspect.signature(part.forward).bind(*arguments, **options).arguments
            given.get("side", Side()).honour()
            found[name] = _learn(part, given["k"], draw, neighbours, steps, rate, momentum)

        hooks.append(part.register_forward_pre_hook(first, with_kwargs=True))
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


class _Labels(NamedTuple):
    near_BHNT: Tensor
    far_BHNT: Tensor

    def times(self, y_BHN: Tensor) -> Tensor:
        """S y, without S."""
        rows = y_BHN[..., None].expand(-1, -1, -1, self.near_BHNT.shape[-1])
        return rows.gather(2, self.near_BHNT).sum(-1) - rows.gather(2, self.far_BHNT).sum(-1)


def _learn(
    part: KernelHashAttention,
    k: Tensor,
    draw: torch.Generator,
    neighbours: int,
    steps: int,
    rate: float,
    momentum: float,
) -> Tensor:
    k_BHNK = F.normalize(k.detach().to(torch.promote_types(k.dtype, torch.float32)), dim=-1)
    batch, heads, tokens, _ = k_BHNK.shape
    count, bits = part.anchors.shape[1], part.bits
    if batch * tokens < count:
        raise ValueError(f"{count} anchors need as many keys, and the batch has {batch * tokens}")
    chosen = torch.randperm(batch * tokens, generator=draw)[:count].to(k.device)
    part.anchors.copy_(k_BHNK.transpose(0, 1).flatten(1, 2)[:, chosen])
    part.means.zero_()
    part.means.copy_(part.features(k_BHNK, part.spread(k_BHNK)).mean((0, 2)))
    feature_BHNA = part.features(k_BHNK, part.spread(k_BHNK))
    labels = _labels(k_BHNK, min(neighbours, tokens // 2))

    def objective(y_BHN: Tensor) -> Tensor:  # (H,)
        total_BH = bits * (y_BHN * labels.times(y_BHN)).sum(-1)
        for before in kept:
            total_BH = total_BH - (y_BHN * before).sum(-1).square()
        return -(total_BH / (tokens * bits)).mean(0)

    def signs(direction_HA: Tensor) -> Tensor:
        return torch.where(_along(feature_BHNA, direction_HA) > 0, 1.0, -1.0).to(feature_BHNA.dtype)

    kept: list[Tensor] = []
    objectives = []
    for bit in range(bits):
        random_HA = torch.randn(heads, count, generator=draw).to(feature_BHNA)
        learned_HA, speed_HA = random_HA.clone(), torch.zeros_like(random_HA)
        for _ in range(steps):
            with torch.enable_grad():
                leaf_HA = learned_HA.requires_grad_()
                smooth = objective(2 * _along(feature_BHNA, leaf_HA).sigmoid() - 1)
                (slope_HA,) = torch.autograd.grad(smooth.sum(), leaf_HA)
            speed_HA = momentum * speed_HA + slope_HA
            learned_HA = leaf_HA.detach() - rate * (slope_HA + momentum * speed_HA)
        before, after = objective(signs(random_HA)), objective(signs(learned_HA))
        better_H = after < before
        direction_HA = learned_HA.where(better_H[:, None], random_HA)
        part.directions[:, bit] = direction_HA.to(part.directions)
        kept.append(signs(direction_HA))
        objectives.append(torch.stack([before, after.where(better_H, before)], -1))
    part.fitted.fill_(True)
    return torch.stack(objectives)


def _along(feature_BHNA: Tensor, direction_HA: Tensor) -> Tensor:
    return (feature_BHNA @ direction_HA[:, :, None])[..., 0]


def _labels(k_BHNK: Tensor, neighbours: int) -> _Labels:
    cosine_BHNN = k_BHNK @ k_BHNK.mT
    near, far = (cosine_BHNN.topk(neighbours, dim=-1, largest=largest).indices for largest in (True, False))
    return _Labels(near, far)
