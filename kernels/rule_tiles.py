"""Attention under a rule in tiles of query rows that stay in the processor's cache, forward and backward.

Source: tiles and recomputed weights: Dao et al. 2022, arXiv:2205.14135, sec. 3.1; here a tile holds all keys that its
rows see, so that a softmax needs no second pass.
Axes: H heads (of a tile), G key heads, N queries, M keys, K key width, V value width, R rows of a tile, O offsets.

Where the processor multiplies bfloat16 matrices, products are taken in it, from operands rounded to it; everything
between the products is float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unimodal.kernels.rule import WEIGHTS, Rule
from unimodal.kernels.tile_work import Terms, Tile, Work, spans, summed_to

__all__ = ["Watch", "backward", "forward"]

Watch = Callable[[Work, Tile, Tensor | None, Tensor, Tensor], None]
"""Sees a tile's logits (H, R, M), weights, and weights times the factor; it may overwrite the logits only."""


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: Rule,
    terms: Terms,
    watch: Watch | None = None,
    *,
    logits: bool = False,
) -> Tensor:
    """o (B, H, N, V); memory beside it: one tile, and copies of one row's keys and values.

    Args:
        watch: Sees each tile on its way.
        logits: Whether it needs the logits, which otherwise may never be written down.
    """
    out = v.new_zeros(*q.shape[:3], v.shape[3])
    for span in spans(q, k, terms):
        work = Work(q, k, v, rule, terms, span)
        for tile in work.tiles():
            logit, weight = work.weights(tile, work.queries(tile), fused=not logits)
            used = weight if terms.after is None else weight * work.strip(work.after, tile)
            if watch is not None:
                watch(work, tile, logit, weight, used)
            value = work.product(used.to(work.narrow), work.of_keys(work.v, tile).mT)
            work.of_queries(out, tile).copy_(work.turned(value))
    return out


def backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms, wanted: list[bool]
) -> list[Tensor | None]:
    """The gradients of q, k, v, before, after and bias; those of the last three where wanted, else None."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    of_q, of_k, of_v = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
    learned = (terms.before, terms.after, terms.bias)
    of_before, of_after, of_bias = (
        None if t is None or not w else torch.zeros_like(t, dtype=dtype, memory_format=torch.contiguous_format)
        for t, w in zip(learned, wanted, strict=True)
    )
    for span in spans(q, k, terms):
        work = Work(q, k, v, rule, terms, span)
        of_k_GKM, of_v_GVM = (torch.zeros_like(t.mT, dtype=dtype).contiguous() for t in (work.k, work.v))
        for tile in work.tiles():
            q_HRK = work.queries(tile)
            grad_HRV = work.turned(work.of_queries(grad, tile).to(work.narrow)).contiguous()
            weight = work.weights(tile, q_HRK)[1].to(dtype)
            of_weight = work.product(grad_HRV, work.of_keys(work.v, tile)).to(dtype)
            used = weight
            if terms.after is not None:
                strip = work.strip(work.after, tile)
                if of_after is not None:
                    work.add_diagonals(of_after, tile, weight, of_weight)
                used = weight * strip
                of_weight.mul_(strip)
            _add_product(work, work.of_keys(of_v_GVM, tile, 2), grad_HRV, used)
            of_logit = WEIGHTS[rule.weights].pull_back(of_weight, weight, torch.empty_like(weight))
            if of_before is not None:
                work.add_diagonals(of_before, tile, of_logit)
            if of_bias is not None:
                into = work.of_pairs(of_bias, tile)
                into.add_(summed_to(work.turned(of_logit), into.shape))
            value = work.product(of_logit.to(work.narrow), work.of_keys(work.k, tile).mT)
            work.of_queries(of_q, tile).copy_(work.turned(value.mul_(work.scale)))
            _add_product(work, work.of_keys(of_k_GKM, tile, 2), q_HRK, of_logit)
        for whole, part in ((of_k, of_k_GKM), (of_v, of_v_GVM)):
            whole[span.row, :, span.keys].copy_(part.unflatten(0, (whole.shape[1], -1)).sum(1).mT)
    return [of_q, of_k, of_v, of_before, of_after, of_bias]


def _add_product(work: Work, into_HIM: Tensor, x_HRI: Tensor, tile_HRM: Tensor) -> None:
    into_HIM.add_(work.product(x_HRI.mT.contiguous(), tile_HRM.to(work.narrow).mT))
