"""Softmax attention as products of oneDNN, head by head, forward only: where torch's own way through MKL is slower.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; rows of queries in tiles: Dao et al. 2022, arXiv:2205.14135,
sec. 3.1; Intel oneDNN developer guide, "Matrix Multiplication".
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, R rows of a tile.

Logits and softmax are in float32 whatever the dtype is; weights are rounded to it before they meet the values, as in
torch's fused attention. Tolerance against :func:`unimodal.kernels.attention.reference`, relative to the largest value:

    float32 5e-6    bfloat16 2e-2
"""

import torch
from torch import Tensor

from unimodal.kernels.dispatch import Choice, Wish, decide

__all__ = ["choose", "product_attention"]

# Multiplications of a head's logits from which the calls, about 10 us each, are paid for. Logits of a tile: 2 MB.
FEWEST = {torch.float32: 1 << 21, torch.bfloat16: 3 << 19}
_CELLS, _FEWEST_ROWS = 1 << 19, 64


def product_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
    """o = softmax(scale q k^T) v without a mask, a bias or a gradient.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V) in v's dtype.

    Cost: O(B H N M K) time, O(R M) memory besides the operands. Beside torch's fused attention on an AMD EPYC with
    AVX-512, one thread, K = 64: 1.1 times as fast at N = M = 197 and 1.6 times at 512.
    """
    batch, heads, queries, width = q.shape
    group, keys = heads // k.shape[1], k.shape[2]
    factor = width**-0.5 if scale is None else scale
    rows = max(_FEWEST_ROWS, min(queries, _CELLS // keys))
    rows = -(-queries // -(-queries // rows))  # tiles of nearly one size
    # One head's operands end to end, in memory that stays in the cache from head to head.
    q_NK, k_MK = (q.new_empty(n, width, dtype=torch.float32) for n in (queries, keys))
    v_MV = v.new_empty(v.shape[2:])
    out_BNHV = v.new_empty(batch, queries, heads, v.shape[3])
    product = torch.ops.mkldnn._linear_pointwise
    for b in range(batch):
        for h in range(heads):
            q_NK.copy_(q[b, h]).mul_(factor)
            if h % group == 0:
                k_MK.copy_(k[b, h // group])
                v_MV.copy_(v[b, h // group])
            for start in range(0, queries, rows):
                weight_RM = product(q_NK[start : start + rows], k_MK, None, "none", [], "")
                torch.softmax(weight_RM, -1, out=weight_RM)
                o_RV = product(weight_RM.to(v.dtype), v_MV.mT, None, "none", [], "")
                out_BNHV[b, start : start + rows, h] = o_RV
    return out_BNHV.transpose(1, 2)


def choose(q: Tensor, k: Tensor, v: Tensor, *, implementation: Wish = "auto") -> Choice:
    """Whether products of oneDNN are the fastest way to a plain softmax attention of these arguments, and why."""
    return decide(implementation, "products of oneDNN", _refusal(q, k, v))


def _refusal(q: Tensor, k: Tensor, v: Tensor) -> str | None:
    if torch.compiler.is_compiling():
        return "a traced program keeps torch's own operator"
    if q.device.type != "cpu":
        return f"it lies on {q.device}, not on the CPU"
    if not (q.dtype == k.dtype == v.dtype and q.dtype in FEWEST):
        return f"the kernel does not take {q.dtype}, {k.dtype}, {v.dtype} together"
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return "a gradient is asked for"
    if q.shape[2] * k.shape[2] * q.shape[3] < FEWEST[q.dtype]:
        return f"a head's {q.shape[2]} x {k.shape[2]} logits are too few to pay for a call each"
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return "it was found faster with AVX-512 only"
    if q.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this processor has no bfloat16 kernel"
    if not torch.backends.cuda.flash_sdp_enabled():  # said with torch.nn.attention.sdpa_kernel
        return "torch's own way was asked for"
    return None
