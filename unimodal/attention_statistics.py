"""Attention statistics: what each attention of a model looks at, collected while it runs.

Source: the statistics of :mod:`unimodal.kernels.rule_statistics`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn as nn

from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_statistics import NAMES, Statistics, rule_attention_with_statistics
from unimodal.side import Side

__all__ = ["attention_statistics"]


@contextmanager
def attention_statistics(model: nn.Module, *, wanted: tuple[str, ...] = NAMES) -> Iterator[dict[str, list[Statistics]]]:
    """``with attention_statistics(model) as seen: model(batch)``; outputs stay as they are.

    ``seen`` has a list for each softmax or sigmoid attention by its module's name, with an entry for each call.

    Args:
        wanted: Names of :data:`unimodal.kernels.rule_statistics.NAMES`.

    Raises:
        ValueError: the model has neither attention, or the tensors are not on the CPU.

    Cost: every such attention is computed twice, once as it is and once with statistics.
    """
    found = {n: m for n, m in model.named_modules() if type(m) in (SoftmaxAttention, SigmoidAttention)}
    if not found:
        raise ValueError("the model has no softmax or sigmoid attention")
    seen: dict[str, list[Statistics]] = {name: [] for name in found}

    def hook(name: str) -> Any:
        def note(module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
            q, k, v, side = inputs if len(inputs) == 4 else (*inputs, Side())
            weights, level = ("sigmoid", module.level) if type(module) is SigmoidAttention else ("softmax", 0.0)
            rule = Rule(weights, level, causal=side.causal, scale=module.scale)
            terms = {"bias": side.bias, "mask": side.mask, "lengths": side.lengths, "cu_seqlens": side.cu_seqlens}
            with torch.no_grad():
                seen[name].append(rule_attention_with_statistics(q, k, v, rule, wanted=wanted, **terms)[1])

        return note

    handles = [module.register_forward_hook(hook(name)) for name, module in found.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
