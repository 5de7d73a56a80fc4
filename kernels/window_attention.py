"""Attention within a window, by the faster of two forms: strips in torch's fused attention, or tiles.

Source: Beltagy et al. 2020, arXiv:2004.05150, sec. 3.1.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.

Tolerance of both against :func:`reference`, outputs and gradients, relative to the largest value:

    float64 1e-10    float32 5e-6    bfloat16 2e-2    float16 4e-3
"""

import torch
from torch import Tensor

from unimodal.kernels.dispatch import Choice, Wish
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import choose as choose_rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.kernels.rule_reference import reference
from unimodal.kernels.strip_attention import choose as choose_strips
from unimodal.kernels.strip_attention import strip_attention
from unimodal.kernels.strips import Strips

__all__ = ["choose", "reference", "window_attention"]

# On a processor: strips of 16 queries up to the first window, of 32 up to the second, and tiles beyond, where the keys
# that a strip does not need weigh little. Elsewhere strips of 64.
NARROW, WIDE = 16, 256


def window_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    window: int,
    *,
    causal: bool = False,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    scale: float | None = None,
    implementation: Wish = "auto",
) -> Tensor:
    """o = softmax(scale q k^T + bias) v over the keys at most ``window`` from the query; 0 where there is none.

    Args:
        window: Tokens; the place of query n among the keys is n + M - N.
        causal: Only the keys that do not lie behind the query.

    The others, shapes and errors as :func:`unimodal.kernels.rule_attention.rule_attention`.

    Cost: O(B H N W K) time and memory linear in N.
    """
    rule = Rule(window=window, causal=causal, scale=scale)
    terms = {"bias": bias, "mask": mask, "lengths": lengths, "cu_seqlens": cu_seqlens}
    if choose(q, k, v, window, implementation=implementation).implementation.startswith("strips"):
        rows = 64 if q.device.type != "cpu" else 16 if window <= NARROW else 32
        strips = Strips(rows, window, 0 if causal else window, window=window, causal=causal)
        return strip_attention(q, k, v, strips, scale=scale, implementation=implementation, **terms)
    return rule_attention(q, k, v, rule, implementation=implementation, **terms)


def choose(q: Tensor, k: Tensor, v: Tensor, window: int = 128, *, implementation: Wish = "auto") -> Choice:
    """Which implementation these arguments get, and why."""
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v))
    if q.device.type in ("cpu", "meta") and (learns or window > WIDE):
        found = choose_rule(q, k, v, Rule(window=window), implementation=implementation)
        why = "their gradient is faster than that of strips" if learns else f"the window is wider than {WIDE}"
        return Choice(found.implementation, why) if found.implementation.startswith("tiles") else found
    return choose_strips(q, k, v, implementation=implementation)
