"""Softmax attention for uniform, padded and packed batches, grouped heads, causal order, masks and biases.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; grouped heads: Ainslie et al. 2023, arXiv:2305.13245, sec. 2.2.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.

Tolerance of the fast path against :func:`reference`, outputs and gradients, relative to the largest value:

    float64 1e-10    float32 5e-6    bfloat16 2e-2    float16 4e-3
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels import product_attention as product
from unimodal.kernels.attention_arguments import check_arguments
from unimodal.kernels.by_sequence import by_sequence
from unimodal.kernels.dispatch import Choice, Wish, decide

__all__ = ["attention", "choose", "reference"]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    cu_seqlens: Tensor | None = None,
    scale: float | None = None,
    implementation: Wish = "auto",
) -> Tensor:
    """o = softmax(scale q k^T + bias) v over the keys that may be attended to; 0 where there is none.

    Args:
        mask: Boolean, broadcastable to (B, H, N, M), True = may attend.
        bias: Broadcastable to (B, H, N, M), natural log units.
        causal: Query i sees keys 0 .. i + M - N.
        cu_seqlens: (S + 1,) boundaries of packed sequences; then B = 1, N = M, and nothing crosses a boundary.
        scale: Factor on q k^T; K ** -0.5 if None.
        implementation: See :mod:`unimodal.kernels.dispatch`.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V) in v's dtype.

    Raises:
        ValueError: heads do not divide; the mask is not boolean; mask or bias do not broadcast; or a packed batch
            comes with a mask, a bias, more than one row or another number of keys than of queries.
        RuntimeError: ``implementation="require"`` and the fused path refuses.

    Cost: O(B H N M K) time; the fused path needs O(B H N V) memory; packed costs the sum of squared lengths.
    """
    check_arguments(q, k, v, mask=mask, bias=bias, cu_seqlens=cu_seqlens)
    if cu_seqlens is not None:
        alone = partial(attention, causal=causal, scale=scale, implementation=implementation)
        return by_sequence(alone, q, k, v, cu_seqlens)
    if choose(q, k, v, implementation=implementation).implementation == "reference":
        return reference(q, k, v, mask=mask, bias=bias, causal=causal, scale=scale)
    return _sdpa(q, k, v, mask, bias, causal, scale)


def choose(q: Tensor, k: Tensor, v: Tensor, *, implementation: Wish = "auto") -> Choice:
    """Which implementation these arguments get, and why."""
    refusal = None
    if not (q.dtype == k.dtype == v.dtype):
        refusal = f"q, k and v have different dtypes: {q.dtype}, {k.dtype}, {v.dtype}"
    elif not q.is_floating_point():
        refusal = f"{q.dtype} is not a floating-point dtype"
    return decide(implementation, "torch scaled_dot_product_attention", refusal)


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The equation in plain torch with at least float32 accumulation; same arguments as :func:`attention`."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    group = q.shape[1] // k.shape[1]
    k_BHMK, v_BHMV = (t.repeat_interleave(group, dim=1).to(dtype) for t in (k, v))
    logit_BHNM = q.to(dtype) @ k_BHMK.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        logit_BHNM = logit_BHNM + bias
    allowed = _allowed(q.shape[-2], k.shape[-2], mask, causal, q.device)
    if allowed is None:
        return (logit_BHNM.softmax(-1) @ v_BHMV).to(v.dtype)
    weight_BHNM = logit_BHNM.masked_fill(~allowed, float("-inf")).softmax(-1)
    return (weight_BHNM.masked_fill(~allowed, 0.0) @ v_BHMV).to(v.dtype)  # a row without keys is NaN until here


def _sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    causal: bool,
    scale: float | None,
) -> Tensor:
    if q.shape[-2] == 0 or k.shape[-2] == 0:
        return v.new_zeros(*q.shape[:3], v.shape[3])
    grouped = True if q.shape[1] != k.shape[1] else False  # noqa: SIM210 - torch.jit.trace hands a tensor
    if mask is None and bias is None and not causal and product.choose(q, k, v).implementation != "reference":
        return product.product_attention(q, k, v, scale=scale)
    if mask is None and bias is None and (not causal or q.shape[-2] == k.shape[-2]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, enable_gqa=grouped)
    allowed = _allowed(q.shape[-2], k.shape[-2], mask, causal, q.device)
    dead = None
    term = None if bias is None else _four_axes(bias).to(q.dtype)
    if allowed is not None:
        # A row of -inf has no softmax: let such a row attend anywhere and overwrite what it gives.
        dead = ~allowed.any(-1, keepdim=True)
        allowed = allowed | dead
        term = allowed if term is None else term.masked_fill(~allowed, float("-inf"))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=term, scale=scale, enable_gqa=grouped)
    return out if dead is None else out.masked_fill(dead, 0.0)


def _allowed(queries: int, keys: int, mask: Tensor | None, causal: bool, device: torch.device) -> Tensor | None:
    if not causal:
        return None if mask is None else _four_axes(mask)
    order = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)[None, None]
    return order if mask is None else order & mask


def _four_axes(term: Tensor) -> Tensor:
    return term[(None,) * (4 - term.ndim)]
