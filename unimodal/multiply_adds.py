"""Multiply-adds of a call: what papers call FLOPs, or MACs, of a network and an input.

Source: counting by what each product of matrices and each convolution does: torch.utils.flop_counter, whose operations
are twice these; element-wise steps (norms, activations, softmax, means) are left out, as papers leave them out.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["multiply_adds"]


def multiply_adds(call: Callable[..., Any], *inputs: Any) -> int:
    """How many multiplications with an addition ``call(*inputs)`` makes in products and convolutions.

    Nothing is hidden from the count: attention is torch's in its plain form, since the counter does not know the fused
    one on a processor, and this package's own operators say what they do. On the meta device nothing is computed:

        with torch.device("meta"):
            model = vit("tiny")().eval()
            multiply_adds(model.embed, Batch("image", torch.zeros(1, 3, 224, 224)))

    Cost: that of the call, or of its operators' shapes on the meta device.
    """
    packed = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    counter = FlopCounterMode(display=False, custom_mapping={packed: _packed} if packed else {})
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
        call(*inputs)
    return counter.get_total_flops() // 2


def _packed(x: Any, weight: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """Operations of a linear map with packed weights; arguments are shapes."""
    return 2 * weight[0] * math.prod(x)
