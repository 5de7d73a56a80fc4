"""Attention under a rule with what is known of its weights: log-sum-exp, entropy and sums over queries.

Source: log-sum-exp: Dao et al. 2022, arXiv:2205.14135, alg. 1; entropy of a query's weights: Clark et al. 2019,
arXiv:1906.04341; sums over queries: Zhang et al. 2023, arXiv:2306.14048.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, R rows of a tile.

Tolerance against the equation: float64 1e-10, float32 1e-4, bfloat16 2e-2 of the largest value.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from unimodal.kernels.attention_arguments import check_arguments
from unimodal.kernels.rule import PLAIN, WEIGHTS, Rule
from unimodal.kernels.rule_library import gradients, operations
from unimodal.kernels.rule_tiles import forward
from unimodal.kernels.tile_work import Terms, Tile, Work

__all__ = ["NAMES", "Statistics", "rule_attention_with_statistics"]

NAMES = ("logsumexp", "entropy", "column_sums")


class Statistics(NamedTuple):
    """What is known of the weights; None for what was not asked for. Float32 at least, without a gradient.

    Args:
        logsumexp: (B, H, N) log sum_m exp(l_nm) over the logits l of the keys that are seen, whatever the rule makes of
            them; -inf for a query without keys.
        entropy: (B, H, N) -sum_m p_nm log p_nm in nats, p_nm = w_nm / sum_m w_nm: of a softmax its weights themselves,
            of other rules (whose weights must not be negative) the weights as shares. 0 for a query without weights.
        column_sums: (B, H, M) sum_n w_nm: what a key gets from all queries, padding and masked keys 0. With a factor
            behind the weights, of w * after, which is what multiplies the values.
    """

    logsumexp: Tensor | None
    entropy: Tensor | None
    column_sums: Tensor | None


def rule_attention_with_statistics(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: Rule = PLAIN,
    *,
    wanted: tuple[str, ...] = NAMES,
    before: Tensor | None = None,
    after: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Statistics]:
    """The output of :func:`unimodal.kernels.rule_attention.rule_attention`, same arguments, and its statistics.

    The output has its gradient; the statistics have none. A plain softmax too goes through the tiles here, not through
    torch's fused kernel. Packed sequences lie in the statistics as they lie in q.

    Args:
        wanted: Which of :data:`NAMES`; each has its own cost.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V) in v's dtype.

    Raises:
        ValueError: an unknown name in ``wanted``; what :func:`~unimodal.kernels.rule_attention.rule_attention` refuses;
            or q, k and v differ in dtype, or do not lie on the CPU.

    Cost: memory linear in N: a tile and the statistics. Column sums are one pass over each tile, log-sum-exp and
        entropy two each; for other rules than softmax these two take exponentials and logarithms once more.
    """
    for name in wanted:
        if name not in NAMES:
            raise ValueError(f"wanted holds names of {', '.join(NAMES)}, not {name!r}")
    terms = {"mask": mask, "bias": bias, "lengths": lengths, "cu_seqlens": cu_seqlens}
    check_arguments(q, k, v, before=before, after=after, **terms)
    if q.device.type not in ("cpu", "meta") or not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"statistics are made in tiles on the CPU, of one dtype, not of {q.dtype} on {q.device}")
    tensors = (q, k, v, before, after, bias, mask, lengths, cu_seqlens)
    switches = (rule.weights, rule.level, rule.causal, rule.window, rule.scale)
    out, *found = _forward(*tensors, *switches, [name in wanted for name in NAMES])
    return out, Statistics(*(x if name in wanted else None for name, x in zip(NAMES, found, strict=True)))


@torch.library.custom_op("unimodal::rule_attention_with_statistics", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    bias: Tensor | None,
    mask: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    weights: str,
    level: float | None,
    causal: bool,
    window: int | None,
    scale: float | None,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(q.dtype, torch.float32)
    rule, shapes = Rule(weights, level, causal, window, scale), _shapes(q, k, wanted)
    lse, entropy, columns = (torch.zeros(s, dtype=dtype, device=q.device) for s in shapes)
    lse.fill_(float("-inf"))
    found = (lse if wanted[0] else None, entropy if wanted[1] else None, columns if wanted[2] else None)

    def watch(work: Work, tile: Tile, logit_HRM: Tensor | None, weight_HRM: Tensor, used_HRM: Tensor) -> None:
        _see(work, tile, logit_HRM, weight_HRM, used_HRM, *found)

    terms = Terms(before, after, bias, mask, lengths, cu_seqlens)
    return forward(q, k, v, rule, terms, watch, logits=wanted[0] or wanted[1]), lse, entropy, columns


def _see(
    work: Work,
    tile: Tile,
    logit_HRM: Tensor | None,
    weight_HRM: Tensor,
    used_HRM: Tensor,
    lse: Tensor | None,
    entropy: Tensor | None,
    columns: Tensor | None,
) -> None:
    """A tile's part of the statistics; its logits are overwritten."""
    if columns is not None:
        keys = slice(work.span.keys.start + tile.keys.start, work.span.keys.start + tile.keys.stop)
        ones_HR = used_HRM.new_ones(tile.shape[0], 1, tile.shape[1])
        columns[work.span.row, tile.heads, keys].add_(torch.bmm(ones_HR, used_HRM)[:, 0])
    if logit_HRM is None:
        return
    normalised = WEIGHTS[work.rule.weights].normalised
    if normalised:
        # the largest weight is exp(largest logit) / sum exp: no second pass of exponentials
        top_HR, share_HR = logit_HRM.amax(-1), weight_HRM.amax(-1)
        found_HR = (top_HR - share_HR.log()).masked_fill_(top_HR == float("-inf"), float("-inf"))
        if work.before is None:  # a softmax leaves out the level, in which it is constant
            found_HR = found_HR + work.level
    else:
        found_HR = logit_HRM.logsumexp(-1)
    if lse is not None:
        work.of_queries(lse, tile).copy_(work.turned(found_HR))
    if entropy is None:
        return
    if normalised:
        if work.banded or work.terms.mask is not None or work.terms.bias is not None:
            logit_HRM.masked_fill_(logit_HRM == float("-inf"), 0.0)
        mean_HR = logit_HRM.mul_(weight_HRM).sum(-1)
        if work.before is None:
            mean_HR = mean_HR + work.level
        value_HR = (found_HR - mean_HR).masked_fill_(found_HR == float("-inf"), 0.0)
    else:
        total_HR = weight_HRM.sum(-1)
        mean_HR = torch.special.entr(weight_HRM).sum(-1) / total_HR
        value_HR = (mean_HR + total_HR.log()).masked_fill_(total_HR == 0.0, 0.0)
    work.of_queries(entropy, tile).copy_(work.turned(value_HR).clamp_min_(0.0))


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(q.dtype, torch.float32)
    lse, entropy, columns = (q.new_empty(shape, dtype=dtype) for shape in _shapes(q, k, rest[-1]))
    return v.new_empty(*q.shape[:3], v.shape[3]), lse, entropy, columns


def _shapes(q: Tensor, k: Tensor, wanted: list[bool]) -> list[tuple[int, ...]]:
    queries, keys = tuple(q.shape[:3]), (*q.shape[:2], k.shape[2])
    return [shape if want else (0,) for shape, want in zip((queries, queries, keys), wanted, strict=True)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:9])
    ctx.switches = inputs[9:14]
    ctx.mark_non_differentiable(*output[1:])


def _gradients(ctx: Any, grad: Tensor, *_of_statistics: Tensor | None) -> tuple[Tensor | None, ...]:
    nothing = grad.new_empty(0)  # the tiles compute the weights once more
    return (
        *gradients(grad, nothing, nothing, ctx.saved_tensors, ctx.switches, ctx.needs_input_grad[3:6]),
        *(None,) * 9,
    )


_forward.register_autograd(_gradients, setup_context=_setup_context)

register_flop_formula(torch.ops.unimodal.rule_attention_with_statistics)(operations)
