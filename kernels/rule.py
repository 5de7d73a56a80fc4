"""Rule: what an attention rule does with its logits, described once for every implementation of it.

Source: softmax: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; sigmoid: Ramapuram et al. 2024, arXiv:2409.04431, sec. 2;
relu: Zhang et al. 2021, arXiv:2104.07012 (with a norm behind it, which is not the rule's).
Axes: ... any leading axes, M keys.

A rule is a row of switches and numbers. A new one is a new row of :data:`WEIGHTS`: its equation, the same equation into
a given buffer, and the product of a gradient with its Jacobian.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PLAIN", "Rule", "WEIGHTS", "Weights", "check_diagonals"]


@dataclass(frozen=True)
class Weights:
    """How logits (..., M) become weights; a logit of -inf, a key that is not seen, must give exactly 0.

    Args:
        equation: The weights of the logits, differentiable.
        weigh: (logits, out): the same into ``out``, which is another buffer than the logits.
        pull_back: (gradient, weights, out): of the weights' gradient, that of the logits into ``out``.
        normalised: Whether a row without keys is 0 / 0 by the equation, and must be made 0.
        mode: Its name in the Triton kernels (:mod:`unimodal.kernels.rule_triton_tile`); None if they do not have it.
    """

    equation: Callable[[Tensor], Tensor]
    weigh: Callable[[Tensor, Tensor], Tensor]
    pull_back: Callable[[Tensor, Tensor, Tensor], Tensor]
    normalised: bool = False
    mode: str | None = None


@dataclass(frozen=True)
class Rule:
    """w = weights(scale q k^T + before + bias + level) over the keys that are seen; o = (w * after) v.

    Query n stands at n + M - N among the keys: the last query meets the last key, as when tokens are generated. The
    offset of key m from it is m - n - (M - N).

    Args:
        weights: A name of :data:`WEIGHTS`.
        level: Added to every logit (natural log units); None for -log of the sequence's number of keys. It cancels
            under softmax.
        causal: Only offsets up to 0 are seen.
        window: Only offsets from -window to window are seen (tokens); None for all.
        scale: Factor on q k^T; None for K ** -0.5.

    Raises:
        ValueError: unknown weights, or a negative window.
    """

    weights: str = "softmax"
    level: float | None = 0.0
    causal: bool = False
    window: int | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, not {self.weights!r}")
        if self.window is not None and self.window < 0:
            raise ValueError(f"window is a distance in tokens, at least 0, not {self.window}")


def check_diagonals(longest: int, **terms: Tensor | None) -> None:
    """Refuse Toeplitz terms that do not reach over a sequence of ``longest`` tokens.

    Raises:
        ValueError: one has fewer than 2 longest - 1 diagonals.
    """
    for name, term in terms.items():
        if term is not None and term.shape[-1] < 2 * longest - 1:
            raise ValueError(f"{name} has {term.shape[-1]} diagonals; {longest} tokens need {2 * longest - 1}")


def _softmax(logit: Tensor, out: Tensor) -> Tensor:
    return torch.softmax(logit, -1, out=out)


def _softmax_pull_back(grad: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten._softmax_backward_data.out(grad, weight, -1, weight.dtype, grad_input=out)


def _sigmoid(logit: Tensor, out: Tensor) -> Tensor:
    return torch.sigmoid(logit, out=out)


def _sigmoid_pull_back(grad: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.sigmoid_backward.grad_input(grad, weight, grad_input=out)


def _relu(logit: Tensor, out: Tensor) -> Tensor:
    return torch.clamp_min(logit, 0.0, out=out)


def _relu_pull_back(grad: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward.grad_input(grad, weight, 0.0, grad_input=out)


WEIGHTS = {
    "softmax": Weights(lambda logit: logit.softmax(-1), _softmax, _softmax_pull_back, normalised=True, mode="softmax"),
    "sigmoid": Weights(torch.sigmoid, _sigmoid, _sigmoid_pull_back, mode="sigmoid"),
    "relu": Weights(torch.relu, _relu, _relu_pull_back, mode="relu"),
}

PLAIN = Rule()
