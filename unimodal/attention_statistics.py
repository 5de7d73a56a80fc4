"""Attention statistics: what each attention of a model looks at, collected while it runs.

Source: the statistics of :mod:`unimodal.kernels.rule_statistics`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.relative_bias import RelativeBiasAttention
from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.attention.universal_relative import UniversalRelativeAttention
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_statistics import NAMES, Statistics, rule_attention_with_statistics
from unimodal.side import Side
from unimodal.toeplitz import diagonals

__all__ = ["Seen", "attention_statistics"]

KNOWN = (
    SoftmaxAttention,
    SigmoidAttention,
    SlidingWindowAttention,
    RelativeBiasAttention,
    UniversalRelativeAttention,
)
ROOMS = ("unimodal.attention.", "unimodal.mixers.")


class Seen(dict[str, list[Statistics]]):
    """The statistics of each call, by the attention's module name.

    Args:
        names: The attentions that are observed.
        unobserved: Names of the attentions whose rule is not known, and of the mixers without an attention rule.
    """

    def __init__(self, names: list[str], unobserved: tuple[str, ...]) -> None:
        super().__init__({name: [] for name in names})
        self.unobserved = unobserved


@contextmanager
def attention_statistics(model: nn.Module, *, wanted: tuple[str, ...] = NAMES) -> Iterator[Seen]:
    """``with attention_statistics(model) as seen: model(batch)``; outputs stay as they are.

    ``seen`` has a list for each softmax, sigmoid, sliding-window, relative-bias or universal-relative attention by its
    module's name, with an entry for each call; ``seen.unobserved`` names what mixes tokens and has no entry.

    Args:
        wanted: Names of :data:`unimodal.kernels.rule_statistics.NAMES`.

    Raises:
        ValueError: no attention of the model has a known rule, or the tensors are not on the CPU.

    Cost: every such attention is computed twice, once as it is and once with statistics.
    """
    found = {n: m for n, m in model.named_modules() if type(m) in KNOWN}
    unobserved = tuple(n for n, m in model.named_modules() if _mixes(m) and not any(map(_mixes_or_known, _within(m))))
    if not found:
        raise ValueError(f"the model has no attention whose rule is known; not observed: {', '.join(unobserved)}")
    seen = Seen(list(found), unobserved)

    def hook(name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], _output: Any) -> None:
            with torch.no_grad():
                seen[name].append(_statistics(module, wanted, *inputs, **named))

        return note

    handles = [module.register_forward_hook(hook(name), with_kwargs=True) for name, module in found.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _statistics(
    module: Any, wanted: tuple[str, ...], q: Tensor, k: Tensor, v: Tensor, side: Side = Side()
) -> Statistics:
    terms = {"bias": side.bias, "mask": side.mask, "lengths": side.lengths, "cu_seqlens": side.cu_seqlens}
    rule = Rule(causal=side.causal, scale=module.scale)
    if isinstance(module, SigmoidAttention):
        rule = Rule("sigmoid", module.level, causal=side.causal, scale=module.scale)
    elif isinstance(module, SlidingWindowAttention):
        rule = Rule(causal=side.causal, window=module.window, scale=module.scale)
    longest = max(q.shape[2], k.shape[2])
    if isinstance(module, RelativeBiasAttention | UniversalRelativeAttention):
        terms["before"] = diagonals(module.bias, longest)
    if isinstance(module, UniversalRelativeAttention):
        terms["after"] = diagonals(module.gain, longest)
    return rule_attention_with_statistics(q, k, v, rule, wanted=wanted, **terms)[1]


def _mixes(module: nn.Module) -> bool:
    """Whether it is an attention or a mixer, as its place or its name says, of an unknown rule."""
    kind = type(module)
    return kind not in KNOWN and (kind.__module__.startswith(ROOMS) or "Attention" in kind.__name__)


def _mixes_or_known(module: nn.Module) -> bool:
    return type(module) in KNOWN or _mixes(module)


def _within(module: nn.Module) -> Iterator[nn.Module]:
    return (inner for inner in module.modules() if inner is not module)
