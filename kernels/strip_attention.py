"""Attention in strips: a run of queries beside the run of keys that any of them may see, all strips of a row at once.

Source: a window in overlapping chunks of keys: Beltagy et al. 2020, arXiv:2004.05150, sec. 3.1 and appendix A; blocks:
Zhang et al. 2023, arXiv:2310.12442, sec. 3.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, C strips, R queries of a strip, S
keys of a strip.

Tolerance of the fast path against :func:`reference`, outputs and gradients, relative to the largest value:

    float64 1e-10    float32 5e-6    bfloat16 2e-2    float16 4e-3
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels.attention import attention
from unimodal.kernels.attention import choose as choose_attention
from unimodal.kernels.attention import reference as dense
from unimodal.kernels.attention_arguments import check_arguments
from unimodal.kernels.by_sequence import by_sequence
from unimodal.kernels.dispatch import Choice, Wish, decide
from unimodal.kernels.strips import Strips
from unimodal.kernels.tile_work import Terms

__all__ = ["choose", "reference", "strip_attention"]

# A view of overlapping strips is free, but its gradient is slow: up to so many strips of keys are copied instead.
COPIED = 3
# In causal order the first queries of a strip see fewer keys than the last: longer strips are taken in such pieces.
PIECE = 128


def strip_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    strips: Strips,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    scale: float | None = None,
    implementation: Wish = "auto",
) -> Tensor:
    """o = softmax(scale q k^T + bias) v over the keys that are seen; 0 where there is none.

    Strips become rows of a batch for torch's scaled_dot_product_attention, their overlapping keys as a view.

    Args:
        strips: Which keys a query sees.
        mask: Boolean, broadcastable to (B, H, N, M), True = may attend.
        bias: Broadcastable to (B, H, N, M), natural log units.
        lengths: (B,) how many keys of each row there are; the ones behind them are padding.
        cu_seqlens: (S + 1,) boundaries of packed sequences; then B = 1, N = M, and nothing crosses a boundary.
        scale: Factor on q k^T; K ** -0.5 if None.
        implementation: See :mod:`unimodal.kernels.dispatch`.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V) in v's dtype.

    Raises:
        ValueError: what :func:`unimodal.kernels.attention_arguments.check_arguments` refuses.
        RuntimeError: ``implementation="require"`` and the fast path refuses.

    Cost: O(B H N S K) time; memory is linear in N, and without lengths, mask and bias the strips share one mask.
    """
    check_arguments(q, k, v, mask=mask, bias=bias, lengths=lengths, cu_seqlens=cu_seqlens)
    if choose(q, k, v, implementation=implementation).implementation == "reference":
        terms = {"mask": mask, "bias": bias, "lengths": lengths, "cu_seqlens": cu_seqlens, "scale": scale}
        return reference(q, k, v, strips, **terms)
    if q.shape[2] == 0 or k.shape[2] == 0:
        return v.new_zeros(*q.shape[:3], v.shape[3])
    terms = Terms(bias=bias, mask=mask, lengths=lengths, cu_seqlens=cu_seqlens)
    if cu_seqlens is not None:
        return _packed(q, k, v, strips, cu_seqlens, scale)
    last = (k.shape[2] - 1) // strips.rows
    if strips.causal and strips.window is None and last * strips.rows <= strips.behind:
        strips = Strips(k.shape[2], causal=True)  # no strip begins behind a key: causal attention, which is faster
        last = 0
    one = (k.shape[2] - q.shape[2]) // strips.rows == last
    return (_one if one else _several)(q, k, v, strips, terms, scale)


def choose(q: Tensor, k: Tensor, v: Tensor, *, implementation: Wish = "auto") -> Choice:
    """Which implementation these arguments get, and why."""
    found = choose_attention(q, k, v)
    refusal = found.reason if found.implementation == "reference" else None
    return decide(implementation, "strips in torch scaled_dot_product_attention", refusal)


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    strips: Strips,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """The equation with a dense mask; same arguments as :func:`strip_attention`."""
    if cu_seqlens is not None:
        return by_sequence(partial(reference, strips=strips, scale=scale), q, k, v, cu_seqlens)
    place_M = torch.arange(k.shape[2], device=q.device)
    place_N = torch.arange(q.shape[2], device=q.device) + k.shape[2] - q.shape[2]
    seen = strips.seen(place_N[:, None], place_M)[None, None]
    if lengths is not None:
        seen = seen & (place_M < lengths[:, None])[:, None, None]
    return dense(q, k, v, mask=seen if mask is None else seen & mask, bias=bias, scale=scale)


def _one(q: Tensor, k: Tensor, v: Tensor, strips: Strips, terms: Terms, scale: float | None) -> Tensor:
    """All queries lie in one strip, and so the last key of all is its last: nothing is filled up."""
    keys, shift = k.shape[2], k.shape[2] - q.shape[2]
    first = max(0, shift // strips.rows * strips.rows - strips.behind)
    mask, bias = (t if t is None or t.shape[-1] == 1 else t[..., first:] for t in (terms.mask, terms.bias))
    place_S = torch.arange(first, keys, device=q.device)
    if strips.window is not None:
        place_N1 = torch.arange(shift, keys, device=q.device)[:, None]
        near = ((place_S - place_N1).abs() <= strips.window)[None, None]
        mask = near if mask is None else near & mask
    if terms.lengths is not None:
        within = (place_S < terms.lengths[:, None])[:, None, None]
        mask = within if mask is None else within & mask
    return attention(q, k[:, :, first:], v[:, :, first:], mask=mask, bias=bias, causal=strips.causal, scale=scale)


def _several(q: Tensor, k: Tensor, v: Tensor, strips: Strips, terms: Terms, scale: float | None) -> Tensor:
    rows, queries, keys = strips.rows, q.shape[2], k.shape[2]
    mask, bias, lengths = terms.mask, terms.bias, terms.lengths
    shift = keys - queries
    first, last = shift // rows, -(-keys // rows)
    count, front, start = last - first, shift - first * rows, first * rows - strips.behind
    back = start + (count - 1) * rows + strips.span - keys
    copied = _copied(strips, q, k, v)
    q_BCHRK = _filled(q, front, count * rows - front - queries).unflatten(2, (count, rows)).transpose(1, 2)
    k_BCGSK, v_BCGSV = (_runs(_filled(t, -start, back), strips, copied) for t in (k, v))
    number_C = torch.arange(first, last, device=q.device)
    if _plain(strips) and shift >= 0 and mask is None and bias is None:
        bounds = [(0, count, None)]
    elif mask is not None or bias is not None or lengths is not None or copied:
        seen_BCHRS = _seen(strips, number_C, keys if lengths is None else lengths[:, None])[:, :, None]
        if mask is not None:
            seen_BCHRS = seen_BCHRS & _of_strips(mask, strips, number_C, shift, q, k)
        bounds = [(0, count, seen_BCHRS)]
    else:  # strips in the middle see alike, and one mask serves them
        inner = min(count, max(0, -(start // rows)))
        outer = max(inner, (keys - strips.span - start) // rows + 1)
        cuts = ((0, inner, inner), (inner, outer, inner + 1), (outer, count, count))
        bounds = [(lo, hi, _seen(strips, number_C[lo:to], keys)[:, :, None]) for lo, hi, to in cuts if hi > lo]
    bias_BCHRS = None if bias is None else _of_strips(bias, strips, number_C, shift, q, k)
    blind = shift < 0 or mask is not None or lengths is not None
    parts = [
        _attend(strips, q_BCHRK[:, lo:hi], k_BCGSK[:, lo:hi], v_BCGSV[:, lo:hi], seen, bias_BCHRS, scale, blind)
        for lo, hi, seen in bounds
    ]
    o_BCHRV = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    return o_BCHRV.transpose(1, 2).flatten(2, 3)[:, :, front : front + queries]


def _packed(q: Tensor, k: Tensor, v: Tensor, strips: Strips, cu_seqlens: Tensor, scale: float | None) -> Tensor:
    """Each sequence starts a strip; as many strips as there can be at most, so that the device is not asked."""
    rows, tokens, cu = strips.rows, q.shape[2], cu_seqlens.long()
    if tokens < rows * (len(cu) - 1):  # shorter than a strip on average
        return by_sequence(partial(strip_attention, strips=strips, scale=scale), q, k, v, cu)
    begin_S = F.pad((cu.diff() + rows - 1).div(rows, rounding_mode="floor").cumsum(0), (1, 0))
    strip_C = torch.arange(tokens // rows + len(cu) - 1, device=q.device)
    owner_C = torch.searchsorted(begin_S[1:], strip_C, right=True).clamp(max=len(cu) - 2)
    number_C = strip_C - begin_S[owner_C]
    token_CR = (cu[owner_C] + number_C * rows)[:, None] + torch.arange(rows, device=q.device)
    at = token_CR.clamp(max=tokens - 1).flatten()
    q_BCHRK = q.index_select(2, at).unflatten(2, (-1, rows)).transpose(1, 2)
    copied, around = _copied(strips, q, k, v), (strips.behind, strips.ahead)
    k_BCGSK, v_BCGSV = (_runs(_filled(t.index_select(2, at), *around), strips, copied) for t in (k, v))
    seen_BCHRS = None if _plain(strips) else _seen(strips, number_C, cu.diff()[None, owner_C])[:, :, None]
    o_BCHRV = _attend(strips, q_BCHRK, k_BCGSK, v_BCGSV, seen_BCHRS, None, scale, blind=False)
    token_N = torch.arange(tokens, device=q.device)
    owner_N = torch.searchsorted(cu[1:], token_N, right=True).clamp(max=len(cu) - 2)
    slot_N = begin_S[owner_N] * rows + token_N - cu[owner_N]
    return o_BCHRV.transpose(1, 2).flatten(2, 3).index_select(2, slot_N)


def _attend(
    strips: Strips,
    q_BCHRK: Tensor,
    k_BCGSK: Tensor,
    v_BCGSV: Tensor,
    seen_BCHRS: Tensor | None,
    bias_BCHRS: Tensor | None,
    scale: float | None,
    blind: bool,
) -> Tensor:
    """(B, C, H, R, V). Without ``seen`` causal order; ``blind``: a query that matters may see nothing."""
    if seen_BCHRS is None:
        return _sdpa(q_BCHRK, k_BCGSK, v_BCGSV, None, scale)
    # A row of -inf has no softmax: let such a row attend anywhere and overwrite what it gives.
    dead = ~seen_BCHRS.any(-1, keepdim=True)
    term = seen_BCHRS | dead
    if bias_BCHRS is not None:
        term = bias_BCHRS.to(q_BCHRK.dtype).masked_fill(~term, float("-inf"))
    if strips.causal and strips.window is None and strips.rows > PIECE and not blind:
        stops = [(a, min(a + PIECE, strips.rows)) for a in range(0, strips.rows, PIECE)]
        keys = [slice(0, strips.behind + stop) for _, stop in stops]
        rows = [slice(*stop) for stop in stops]
        pieces = (
            _sdpa(q_BCHRK[..., r, :], k_BCGSK[..., s, :], v_BCGSV[..., s, :], term[..., r, s], scale)
            for r, s in zip(rows, keys, strict=True)
        )
        return torch.cat(list(pieces), dim=3)
    out = _sdpa(q_BCHRK, k_BCGSK, v_BCGSV, term, scale)
    return out.masked_fill(dead, 0.0) if blind else out


def _sdpa(q_BCHRK: Tensor, k_BCGSK: Tensor, v_BCGSV: Tensor, term: Tensor | None, scale: float | None) -> Tensor:
    """All strips as one batch; overlapping ones of several rows have no common stride and are taken row by row."""
    batch, count = q_BCHRK.shape[:2]
    overlap = k_BCGSK.stride(1) < k_BCGSK.shape[3] * k_BCGSK.stride(3)
    if batch > 1 and overlap:
        terms = [None if term is None else term[min(i, len(term) - 1)][None] for i in range(batch)]
        of = zip(q_BCHRK.split(1), k_BCGSK.split(1), v_BCGSV.split(1), terms, strict=True)
        return torch.cat([_sdpa(q, k, v, own, scale) for q, k, v, own in of])
    if term is not None and term.shape[:2] != (1, 1):
        term = term.expand(batch, count, *term.shape[2:])
    term = None if term is None else term.flatten(0, 1)
    q, k, v = (t.flatten(0, 1) for t in (q_BCHRK, k_BCGSK, v_BCGSV))
    grouped = True if q.shape[1] != k.shape[1] else False  # noqa: SIM210 - torch.compile hands a symbol
    options = {"attn_mask": term, "is_causal": term is None, "scale": scale, "enable_gqa": grouped}
    return F.scaled_dot_product_attention(q, k, v, **options).unflatten(0, (batch, count))


def _seen(strips: Strips, number_C: Tensor, size_BC: Tensor | int) -> Tensor:
    """(B, C, R, S): what the queries of these strips see, in sequences of these numbers of keys."""
    query_CR, key_CS = _places(strips, number_C)
    key_CS = key_CS[None]
    exists_BCS = (key_CS >= 0) & (key_CS < (size_BC if isinstance(size_BC, int) else size_BC[..., None]))
    return strips.seen(query_CR[:, :, None], key_CS[..., None, :]) & exists_BCS[:, :, None]


def _places(strips: Strips, number_C: Tensor) -> tuple[Tensor, Tensor]:
    start_C1 = number_C[:, None] * strips.rows
    query_CR = start_C1 + torch.arange(strips.rows, device=number_C.device)
    return query_CR, start_C1 - strips.behind + torch.arange(strips.span, device=number_C.device)


def _of_strips(term: Tensor, strips: Strips, number_C: Tensor, shift: int, q: Tensor, k: Tensor) -> Tensor:
    """What a term that is broadcastable to (B, H, N, M) says of strips: (B, C, H, R, S), or axes of size 1."""
    query_CR, key_CS = _places(strips, number_C)
    term = term[(None,) * (4 - term.ndim)]
    at_CR1 = (query_CR - shift).clamp(0, q.shape[2] - 1 if term.shape[2] > 1 else 0)[:, :, None]
    at_C1S = key_CS.clamp(0, k.shape[2] - 1 if term.shape[3] > 1 else 0)[:, None]
    return term[:, :, at_CR1, at_C1S].transpose(1, 2)


def _plain(strips: Strips) -> bool:
    """Whether a strip is causal attention among its own tokens, which no padding behind them disturbs."""
    return strips.causal and strips.window is None and strips.span == strips.rows


def _copied(strips: Strips, *tensors: Tensor) -> bool:
    """Whether the keys of strips are copied: see :data:`COPIED`."""
    whole = strips.behind % strips.rows == 0 and strips.ahead % strips.rows == 0
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return learns and whole and strips.span <= COPIED * strips.rows


def _runs(x_BGMK: Tensor, strips: Strips, copied: bool) -> Tensor:
    """(B, C, G, S, K): the keys of each strip."""
    if not copied:
        return x_BGMK.unfold(2, strips.span, strips.rows).mT.transpose(1, 2)
    x_BCGRK = x_BGMK.unflatten(2, (-1, strips.rows)).transpose(1, 2)
    pieces = strips.span // strips.rows
    count = x_BCGRK.shape[1] - pieces + 1
    return torch.cat([x_BCGRK[:, i : i + count] for i in range(pieces)], dim=3) if pieces > 1 else x_BCGRK


def _filled(x: Tensor, front: int, back: int) -> Tensor:
    """Tokens (axis 2) with zeros around them; a negative number takes tokens away."""
    return F.pad(x, (0, 0, front, back)) if front or back else x
