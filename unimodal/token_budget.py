"""Token budget: how many tokens of each modality are seen and how many are predicted, a fixed number of each in all.

Source: Mizrahi et al. 2023, arXiv:2312.06647 (inputs and targets drawn from symmetric Dirichlet distributions
over modalities); rounding, clamping and mixtures: released code github.com/apple/ml-4m, fourm/data/masking.py,
input_token_budget, target_token_budget and image_mask.
Axes: B samples, M modalities, N tokens of one modality, J mixtures.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import Gamma

__all__ = ["TokenBudget"]


class TokenBudget:
    """p ~ Dirichlet(alpha); b = floor(p total); each token that is left over goes to argmax of a fresh p; b <= room.

    A step then costs the same however many modalities there are. One number alpha says how a budget is shared out:
    near 0 all tokens come from one modality (which one, changes), at 1 every split is as likely, and a large one gives
    equal shares. The mean share of a modality is its alpha over the sum of alphas, but for what rounding moves: a left
    over token goes to a larger modality more often than its share says, and now and then to one that has none (less
    than M / total in all). With alpha 0 a modality never has a token (in the released code alpha is raised to 1e-9).

    What does not fit into a modality's room is lost, so the sum is ``total`` unless one was clamped. Inputs and targets
    are drawn one after the other; a modality on a lattice has room for targets only where it has no inputs, and
    :meth:`masks` puts the two apart. A sequence's targets are what was taken out of it, so its room is not lessened.

    Args:
        room: The most tokens that a modality can give.
        inputs: Sum of the input budgets.
        targets: Sum of the target budgets.
        mixtures: Pairs of (alphas of inputs, alphas of targets) by modality; those left out have 0. Each sample is of
            one of the pairs.
        weights: How often each pair is taken, in any unit; None takes all alike.
        sequences: The modalities that are on no lattice.
        least: The fewest input and target tokens of a modality, where it is not 0; other draws are thrown away.

    Shapes:
        draw: B;  returns inputs and targets (B, M) int64, in the order of ``names``.
        masks: N tokens, budgets (B,) and (B,);  returns two (B, N) booleans, True = an input, True = a target.

    Raises:
        ValueError: a total is negative, an alpha is negative or not finite, all alphas of a pair's side are 0, a name
            is not in ``room``, or weights are not one a pair. On :meth:`draw`: a hundred draws in a row were below
            ``least``. On :meth:`masks`: the budgets of a sample are more than the tokens.
    """

    tries = 100

    def __init__(
        self,
        room: Mapping[str, int],
        *,
        inputs: int = 128,
        targets: int = 128,
        mixtures: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
        weights: Sequence[float] | None = None,
        sequences: Sequence[str] = (),
        least: Mapping[str, int] | None = None,
    ) -> None:
        if min(inputs, targets) < 0:
            raise ValueError(f"inputs and targets must not be negative, not {inputs} and {targets}")
        self.names = tuple(room)
        least = least or {}
        for held in (sequences, least, *(side for pair in mixtures for side in pair)):
            if unknown := sorted(set(held) - set(room)):
                raise ValueError(f"room has no modality {', '.join(unknown)}; it has {', '.join(room)}")
        if not mixtures or (weights is not None and len(weights) != len(mixtures)):
            raise ValueError(f"weights must be one for each of {len(mixtures)} mixtures, at least one, not {weights}")
        self.inputs, self.targets = inputs, targets
        self.mixtures = [tuple(self._alphas(side) for side in pair) for pair in mixtures]
        self.weights = torch.tensor([1.0] * len(mixtures) if weights is None else [float(weight) for weight in weights])
        self.room = torch.tensor([room[name] for name in self.names])
        self.least = torch.tensor([least.get(name, 0) for name in self.names])
        self.on_lattice = torch.tensor([name not in sequences for name in self.names])

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Budgets of ``count`` samples, from torch's own random numbers."""
        pair_B = torch.multinomial(self.weights, count, replacement=True)
        given = torch.zeros(count, len(self.names), dtype=torch.int64)
        asked = torch.zeros_like(given)
        for j, (of_inputs, of_targets) in enumerate(self.mixtures):
            own = pair_B == j
            room = self.room.expand(int(own.sum()), -1)
            given[own] = self._budgets(of_inputs, self.inputs, room)
            asked[own] = self._budgets(of_targets, self.targets, room - given[own] * self.on_lattice)
        return given, asked

    def masks(self, tokens: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Which of a lattice's tokens are inputs and which are targets: the first of a random order, and the next."""
        if len(inputs) and int((inputs + targets).max()) > tokens:
            most = int((inputs + targets).max())
            raise ValueError(f"inputs and targets of a sample are {most} together, more than {tokens} tokens")
        rank_BN = torch.rand(len(inputs), tokens, device=inputs.device).argsort(1).argsort(1)
        ends_B1, last_B1 = inputs[:, None], (inputs + targets)[:, None]
        return rank_BN < ends_B1, (rank_BN >= ends_B1) & (rank_BN < last_B1)

    def _budgets(self, alpha_M: Tensor, total: int, room_BM: Tensor) -> Tensor:
        chosen, out = torch.zeros_like(room_BM), torch.arange(len(room_BM))
        for _ in range(self.tries):
            budget_RM = _shared_out(alpha_M, total, len(out)).minimum(room_BM[out])
            chosen[out] = budget_RM
            out = out[(budget_RM < self.least).any(1)]
            if not len(out):
                return chosen
        wanted = dict(zip(self.names, self.least.tolist(), strict=True))
        raise ValueError(
            f"{self.tries} draws in a row were below least = {wanted}: alphas or room are too small for it"
        )

    def _alphas(self, side: Mapping[str, float]) -> Tensor:
        bad = {name: value for name, value in side.items() if not 0 <= value < float("inf")}
        if bad or not any(side.values()):
            raise ValueError(f"alphas must be finite, at least 0 and not all 0, not {bad or dict(side)}")
        return torch.tensor([float(side.get(name, 0.0)) for name in self.names], dtype=torch.float64)


def _shared_out(alpha_M: Tensor, total: int, count: int) -> Tensor:
    """(count, M) whole numbers of sum ``total``; where alpha is 0, exactly 0."""
    drawn = alpha_M > 0
    budgets = torch.zeros(count, len(alpha_M), dtype=torch.int64)
    whole_BM = (_log_gamma(alpha_M[drawn], count).softmax(1) * total).floor().long()
    left_B1 = total - whole_BM.sum(1, keepdim=True)
    for turn in range(int(left_B1.max())):
        lucky_B1 = _log_gamma(alpha_M[drawn], count).argmax(1, keepdim=True)
        whole_BM.scatter_add_(1, lucky_B1, (left_B1 > turn).long())
    budgets[:, drawn] = whole_BM
    return budgets


def _log_gamma(alpha_M: Tensor, count: int) -> Tensor:
    """log g, g ~ Gamma(alpha), whose softmax is Dirichlet: g(alpha) = g(alpha + 1) u^(1 / alpha).

    Below about 0.01 g itself is too small for a float, and where all are 0, equal shares would come of it.
    """
    uniform_BM = torch.rand(count, len(alpha_M), dtype=alpha_M.dtype).clamp(min=torch.finfo(alpha_M.dtype).tiny)
    return Gamma(alpha_M + 1, torch.ones_like(alpha_M)).sample((count,)).log() + uniform_BM.log() / alpha_M
