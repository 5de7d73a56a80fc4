"""Attention in time linear in the tokens: products of features instead of a function of each pair's score.

Source: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 4-5 (normalised, order of products) and 8-9 (causal); decay:
Sun et al. 2023, arXiv:2307.08621, eq. 5; without a normaliser: Qin et al. 2022, arXiv:2210.10340, sec. 4.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, S sequences.

Tolerance of the linear forms against :func:`reference`, outputs and gradients, relative to the largest value:

    float64 1e-10    float32 2e-5    bfloat16 2e-2    float16 4e-3
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels.attention_arguments import check_arguments
from unimodal.kernels.dispatch import Choice, Wish, decide
from unimodal.kernels.linear_library import tiled
from unimodal.kernels.linear_reference import reference
from unimodal.kernels.linear_rule import PLAIN_LINEAR, LinearRule
from unimodal.kernels.linear_sums import summed
from unimodal.kernels.linear_tiles import Held

__all__ = ["advance", "choose", "linear_attention", "reference"]

TILES, SUMS = "tiles with a state in torch", "sums with a state in Triton"
WIDEST = 128  # of keys in the Triton kernel, whose state lies in registers


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: LinearRule = PLAIN_LINEAR,
    *,
    decay: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    implementation: Wish = "auto",
) -> Tensor:
    """o_n = sum_m w_nm v_m, w_nm = g^(n-m) phi(q_n) phi(k_m) over the keys seen, or that over sum_m w_nm + eps.

    Query n stands at n + M - N among the keys, as in :mod:`unimodal.kernels.rule`.

    Args:
        rule: Features, order, normaliser.
        decay: log g of each head (natural log, at most 0), or None for g = 1; only in causal order.
        mask: Boolean, broadcastable to (B, H, N, M), True = may attend. One without an axis of queries keeps the cost
            linear; a mask of pairs takes the reference.
        lengths: (B,) how many keys of each row there are; the ones behind them are padding.
        cu_seqlens: (S + 1,) boundaries of packed sequences; then B = 1, N = M, and nothing crosses a boundary.
        implementation: See :mod:`unimodal.kernels.dispatch`.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  decay: (H,);
        returns (B, H, N, V) in v's dtype.

    Raises:
        ValueError: heads do not divide; decay comes without causal order or not one a head; the mask is not boolean;
            or a packed batch comes with a mask, lengths, more than one row or another number of keys.
        RuntimeError: ``implementation="require"`` and the linear form refuses; or a gradient of a gradient is asked of
            it, which only ``implementation="reference"`` gives.

    Cost: O(B H (N + M) K V) time, in causal order O(B H max(N, M) (K V + 64 (K + V))); O(B H N V) memory, for
    gradients one K x V state for each 64 tokens more.
    """
    terms = {"mask": mask, "lengths": lengths, "cu_seqlens": cu_seqlens}
    _check(q, k, v, rule, decay, **terms)
    chosen = choose(q, k, v, mask=mask, implementation=implementation).implementation
    if chosen == "reference":
        return reference(q, k, v, rule, decay=decay, **terms)
    seen = _keys_seen(k, mask, lengths)
    before, blind = k.shape[2] - q.shape[2], q.shape[2] - k.shape[2]
    if not rule.causal or before == 0:
        return _run(chosen, q, k, v, rule, decay, seen, cu_seqlens)
    if before > 0:  # queries that nobody reads stand beside the first keys
        return _run(chosen, F.pad(q, (0, 0, before, 0)), k, v, rule, decay, seen, None)[:, :, before:]
    there = torch.arange(q.shape[2], device=q.device)[:, None] >= blind
    seen = there[None, None] if seen is None else F.pad(seen.expand(-1, -1, k.shape[2], -1), (0, 0, blind, 0))
    k, v = (F.pad(t, (0, 0, blind, 0)) for t in (k, v))
    return _run(chosen, q, k, v, rule, decay, seen, None)


def advance(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: LinearRule,
    state: Tensor | None = None,
    *,
    decay: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The next tokens of causal :func:`linear_attention`, and the state behind them for those that follow.

    ``state`` holds sum_m g^(N-1-m) phi(k_m) v_m of what was before, None for nothing. It does not grow with the
    sequence: one token at a time, in pieces or all at once give the same.

    Shapes:
        q, k, v, decay: as :func:`linear_attention`, N = M;  state: (S, H, K, V), or (S, H, K, V + 1) where normalised:
        the last column is the sum of the keys;  returns (B, H, N, V) in v's dtype, and a state in float32 at least.

    Raises:
        ValueError: as :func:`linear_attention`; the rule is not causal; there is another number of keys than of
            queries; or the state has another shape.

    Cost: O(B H N (K V + 64 (K + V))) time.
    """
    _check(q, k, v, rule, decay, cu_seqlens=cu_seqlens)
    if not rule.causal or q.shape[2] != k.shape[2]:
        raise ValueError(f"a state goes on in causal order by tokens with query and key, not {rule}, {k.shape[2]} keys")
    sequences = q.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    shape = (sequences, q.shape[1], q.shape[3], v.shape[3] + rule.normalised)
    if state is not None and tuple(state.shape) != shape:
        raise ValueError(f"state must have the shape {shape}, not {tuple(state.shape)}")
    return tiled(q, k, v, rule, Held(decay, state, None, cu_seqlens), keep=True)


def choose(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, implementation: Wish = "auto") -> Choice:
    """Which implementation these arguments get, and why."""
    refusal = None
    if not (q.is_floating_point() and k.dtype == q.dtype):
        refusal = f"q and k are not of one floating-point dtype: {q.dtype}, {k.dtype}"
    elif mask is not None and mask.ndim > 1 and mask.shape[-2] != 1:
        refusal = "a mask of pairs has no linear form"
    fits = q.device.type == "cuda" and q.shape[3] <= WIDEST and v.shape[3] <= WIDEST and q.element_size() <= 4
    return decide(implementation, SUMS if fits and v.dtype == q.dtype else TILES, refusal)


def _run(
    chosen: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: LinearRule,
    decay: Tensor | None,
    seen: Tensor | None,
    cu_seqlens: Tensor | None,
) -> Tensor:
    if chosen == SUMS:
        return summed(q, k, v, rule, decay=decay, seen=seen, cu_seqlens=cu_seqlens)
    return tiled(q, k, v, rule, Held(decay, None, seen, cu_seqlens))[0]


def _keys_seen(k: Tensor, mask: Tensor | None, lengths: Tensor | None) -> Tensor | None:
    """(B or 1, H or 1, M or 1, 1), or None for all keys."""
    seen = None if mask is None else mask[(None,) * (4 - mask.ndim)].mT
    if lengths is None:
        return seen
    within = (torch.arange(k.shape[2], device=k.device) < lengths[:, None])[:, None, :, None]
    return within if seen is None else within & seen


def _check(q: Tensor, k: Tensor, v: Tensor, rule: LinearRule, decay: Tensor | None, **terms: Tensor | None) -> None:
    check_arguments(q, k, v, **terms)
    if decay is not None and not rule.causal:
        raise ValueError("decay counts tokens back: it needs causal order")
    if decay is not None and decay.shape != q.shape[1:2]:
        raise ValueError(f"decay is one number a head, {q.shape[1]} of them, not {tuple(decay.shape)}")
