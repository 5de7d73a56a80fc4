"""Matching: which query answers for which object, at the least total cost.

Source: Kuhn 1955 (the Hungarian method); as a set loss: Carion et al. 2020, arXiv:2005.12872, sec. 3.1.
Axes: B pictures, N queries, M objects, J pairs of all pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unimodal.errors import MissingExtraError

__all__ = ["Matching"]


@dataclass(frozen=True, eq=False)
class Matching:
    """One (query, object) list of pairs a picture; each query and each object occurs once at most.

    Args:
        queries: For each picture (J_b,) indices of queries, in order.
        objects: For each picture (J_b,) indices of its objects.
    """

    queries: tuple[Tensor, ...]
    objects: tuple[Tensor, ...]

    @staticmethod
    def cheapest(costs_NM: Sequence[Tensor]) -> "Matching":
        """min(N, M) pairs in each picture, of least total cost; what is not finite is taken last.

        Raises:
            MissingExtraError: scipy is not installed.
        """
        try:
            from scipy.optimize import linear_sum_assignment
        except ImportError as error:
            raise MissingExtraError("scipy", "detection") from error
        pairs = []
        for cost_NM in costs_NM:
            worst = torch.finfo(cost_NM.dtype).max
            finite = cost_NM.detach().nan_to_num(nan=worst, posinf=worst, neginf=worst)
            pairs.append(
                [torch.as_tensor(i, device=finite.device) for i in linear_sum_assignment(finite.cpu().numpy())]
            )
        return Matching(tuple(rows for rows, _ in pairs), tuple(columns for _, columns in pairs))

    def of_queries(self, x: Tensor) -> Tensor:
        """(B, N, ...) to (J, ...): the matched queries of all pictures."""
        return x[self.places()]

    def of_objects(self, each: Sequence[Tensor]) -> Tensor:
        """(M_b, ...) of each picture to (J, ...): the matched objects of all pictures."""
        return torch.cat([x[chosen] for x, chosen in zip(each, self.objects, strict=True)])

    def places(self) -> tuple[Tensor, Tensor]:
        """(J,) pictures and (J,) queries of all pairs."""
        pictures = [torch.full_like(queries, i) for i, queries in enumerate(self.queries)]
        return torch.cat(pictures), torch.cat(self.queries)

    def classes(self, each: Sequence[Tensor], queries: int, nothing: int) -> Tensor:
        """(B, N) the class of the object that each query answers for, ``nothing`` where it answers for none."""
        made = torch.full((len(each), queries), nothing, dtype=torch.int64, device=each[0].device)
        made[self.places()] = self.of_objects(each)
        return made
