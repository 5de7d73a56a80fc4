"""Attention under a rule: softmax or sigmoid weights, Toeplitz terms before and behind them, windows, causal order.

Source: the equations of :mod:`unimodal.kernels.rule`; the multiplier behind the weights: Luo et al. 2022,
arXiv:2205.13401, eq. 8.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, O offsets.

Tolerance of the tiles against :func:`reference`, outputs and gradients, relative to the largest value:

    float64 1e-10    float32 5e-6    bfloat16 2e-2    float16 4e-3
"""

from importlib.util import find_spec

import torch
from torch import Tensor

from unimodal.kernels.attention import attention
from unimodal.kernels.attention_arguments import check_arguments
from unimodal.kernels.dispatch import Choice, Wish, decide
from unimodal.kernels.launch_table import WIDTHS
from unimodal.kernels.rule import PLAIN, WEIGHTS, Rule
from unimodal.kernels.rule_library import tiled
from unimodal.kernels.rule_reference import reference
from unimodal.kernels.tile_work import Terms

__all__ = ["choose", "reference", "rule_attention"]

SDPA, TILES, KERNELS = "torch scaled_dot_product_attention", "tiles in torch", "kernels in Triton"


def rule_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: Rule = PLAIN,
    *,
    before: Tensor | None = None,
    after: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    implementation: Wish = "auto",
) -> Tensor:
    """o = (weights(scale q k^T + before + bias + level) * after) v over the keys that are seen; 0 where there is none.

    Args:
        rule: Which weights, over which keys.
        before: Toeplitz term of the logits, by its diagonals (natural log units, finite): entry O // 2 + d belongs to
            the offset d.
        after: Toeplitz factor on the weights, by its diagonals; the weights are not normalised again.
        bias: Broadcastable to (B, H, N, M), natural log units.
        mask: Boolean, broadcastable to (B, H, N, M), True = may attend.
        lengths: (B,) how many keys of each row there are; the ones behind them are padding.
        cu_seqlens: (S + 1,) boundaries of packed sequences; then B = 1, N = M, and nothing crosses a boundary.
        implementation: See :mod:`unimodal.kernels.dispatch`.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  before, after: (H or 1, O), O odd and
        at least 2 max(N, M) - 1 (of the longest sequence);  returns (B, H, N, V) in v's dtype.

    Raises:
        ValueError: heads do not divide; the mask is not boolean; mask or bias do not broadcast; the diagonals are too
            few; or a packed batch comes with a mask, a bias, lengths, more than one row or another number of keys.
        RuntimeError: ``implementation="require"`` and the fused path refuses; or a gradient of a gradient is asked of
            the tiles, which only ``implementation="reference"`` gives.

    Cost: O(B H N M K) time, or with a window W O(B H N W K); the fused path needs O(B H (N + M)) memory, and for
    gradients it computes the weights once more.
    """
    terms = {"mask": mask, "bias": bias, "lengths": lengths, "cu_seqlens": cu_seqlens}
    check_arguments(q, k, v, before=before, after=after, **terms)
    chosen = choose(q, k, v, rule, before=before, after=after, implementation=implementation).implementation
    if chosen == SDPA:
        if lengths is not None:
            within = (torch.arange(k.shape[2], device=k.device) < lengths[:, None])[:, None, None]
            mask = within if mask is None else mask & within
        options = {"bias": bias, "causal": rule.causal, "cu_seqlens": cu_seqlens, "scale": rule.scale}
        return attention(q, k, v, mask=mask, **options)
    if chosen in (TILES, KERNELS):
        return tiled(q, k, v, rule, Terms(before, after, bias, mask, lengths, cu_seqlens))
    return reference(q, k, v, rule, before=before, after=after, **terms)


def choose(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: Rule = PLAIN,
    *,
    before: Tensor | None = None,
    after: Tensor | None = None,
    implementation: Wish = "auto",
) -> Choice:
    """Which implementation these arguments get, and why.

    Torch's own for a plain softmax; for the rest the tiles on the processor and the kernels on CUDA.
    """
    plain = rule.weights == "softmax" and rule.window is None and before is None and after is None
    refusal = None
    if not (q.dtype == k.dtype == v.dtype):
        refusal = f"q, k and v have different dtypes: {q.dtype}, {k.dtype}, {v.dtype}"
    elif not q.is_floating_point():
        refusal = f"{q.dtype} is not a floating-point dtype"
    elif not plain and q.device.type == "cuda":
        refusal = _kernels_refuse(q, v, rule)
    elif not plain and q.device.type not in ("cpu", "meta"):
        refusal = f"the tiles are for the processor's cache, and q lies on {q.device}"
    return decide(implementation, SDPA if plain else KERNELS if q.device.type == "cuda" else TILES, refusal)


def _kernels_refuse(q: Tensor, v: Tensor, rule: Rule) -> str | None:
    """Why the Triton kernels cannot run, or None if they can."""
    widest, major = max(q.shape[3], v.shape[3]), torch.cuda.get_device_capability(q.device)[0]
    if WEIGHTS[rule.weights].mode is None:
        return f"the kernels do not have the weights {rule.weights!r}"
    if q.dtype == torch.float64:
        return "the kernels accumulate in float32, and q is float64"
    if widest > WIDTHS[-1]:
        return f"the kernels take heads up to {WIDTHS[-1]} wide, not {widest}"
    gradient = torch.is_grad_enabled() and (q.requires_grad or v.requires_grad)
    if gradient and q.dtype == torch.float32 and widest > WIDTHS[-2]:
        return f"the kernels' gradients take float32 heads up to {WIDTHS[-2]} wide, not {widest}: wider ones spill"
    if major < 8:
        return f"the kernels need compute capability 8.0, and {q.device} has {major}.x"
    return None if find_spec("triton") else "triton is not installed"
