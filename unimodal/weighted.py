"""Weighted sampling: several data sets take turns, each as often as its weight says, each in its own shuffled epochs.

Source: Tijdeman 1980, "The chairman assignment problem", Discrete Mathematics 32, 323-330: turns in which no data set
is ever a whole turn ahead of or behind its share. Epochs: :func:`unimodal.training.shuffled`.
"""

import zlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import lcm

import torch
from torch import Tensor

from unimodal.training import shuffled

__all__ = ["weighted"]


def weighted(
    sizes: Mapping[str, int], weights: Mapping[str, float], batch: int | Mapping[str, int], seed: int
) -> Callable[[int], tuple[str, Tensor]]:
    """Maps a step to the data set whose turn it is, and the indices of its batch there.

    A batch comes from one data set. After t steps a data set of share w (its weight over the sum of weights) has had
    less than one batch more or less than w t: independent draws would be off by about sqrt(w (1 - w) t), would leave
    a small share out for long, and would spend two runs with two seeds on two mixtures. The turns follow one another
    evenly, so a short share comes at regular steps and not in clumps; ``seed`` settles ties.

    A data set goes through its own epochs (:func:`unimodal.training.shuffled`) at its own pace. Its order depends on
    its name and the seed, not on the other data sets or on the weights. The answer depends on the step alone: steps
    may be asked for in any order, and a resumed run goes on as if it had never stopped.

    Args:
        sizes: Items of each data set.
        weights: How often each data set has its turn, in any unit; taken as written (0.1 is one tenth). One with
            weight 0 is never drawn.
        batch: Items a batch, or one number a data set. Weights count turns, not items.
        seed: Of the orders within the data sets, and of who goes first among equals.

    Raises:
        ValueError: the names differ, a weight is negative or not finite or all are 0, or a data set that is drawn has
            fewer items than its batch.

    Cost: a first call at step t goes through the turns up to t once (about 1 us each), or up to the period of the
        turns where that is shorter; what it found is kept, one number a step.
    """
    batches = dict.fromkeys(sizes, batch) if isinstance(batch, int) else dict(batch)
    for what, given in (("weights", weights), ("batch", batches)):
        if set(given) != set(sizes):
            raise ValueError(f"{what} is for {sorted(given)}, but the data sets are {sorted(sizes)}")
    bad = {name: weight for name, weight in weights.items() if not 0 <= weight < float("inf")}
    if bad or not any(weights.values()):
        raise ValueError(f"weights must be finite, at least 0 and not all 0, not {bad or dict(weights)}")
    names = sorted(name for name in sizes if weights[name])
    orders = {}
    for name in names:
        try:
            orders[name] = shuffled(sizes[name], batches[name], seed * 1_000_003 + zlib.crc32(name.encode()))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    parts = [Fraction(str(weights[name])) for name in names]
    whole = lcm(*(part.denominator for part in parts))
    turn = _turns([int(part * whole) for part in parts], seed)

    def indices(step: int) -> tuple[str, Tensor]:
        member, own = turn(step)
        return names[member], orders[names[member]](own)

    return indices


def _turns(shares: list[int], seed: int) -> Callable[[int], tuple[int, int]]:
    """Maps a step to (whose turn it is, how many turns that member had before).

    With n members a turn may be taken once the member lags behind its share by c = 1 / (2n - 2), and must be taken
    before it lags by more than 1 - c; of those that may, the one that must first goes first. Whole numbers only.
    """
    period, slack = sum(shares), max(2 * len(shares) - 2, 1)
    order = torch.randperm(len(shares), generator=torch.Generator().manual_seed(seed)).tolist()
    taken: list[tuple[int, int]] = []
    count = [0] * len(shares)
    opens, closes = [0] * len(shares), [0] * len(shares)

    def ask(i: int) -> None:
        opens[i] = -(-(slack * count[i] + 1) * period // (slack * shares[i]))
        closes[i] = (slack * count[i] + max(slack - 1, 1)) * period // (slack * shares[i])

    for i in order:
        ask(i)

    def turn(step: int) -> tuple[int, int]:
        rounds, place = divmod(step, period)
        while len(taken) <= place:
            now = len(taken) + 1
            i = min((i for i in order if opens[i] <= now), key=closes.__getitem__)
            taken.append((i, count[i]))
            count[i] += 1
            ask(i)
        member, own = taken[place]
        return member, own + rounds * shares[member]

    return turn
