"""Learned queries: the same for all pictures, and for no task."""

import pytest
import torch

from unimodal.learned_queries import LearnedQueries
from unimodal.tokens import Tokens


def test_they_are_the_same_for_all_pictures():
    queries, fine = LearnedQueries(6, count=3), Tokens(torch.randn(2, 4, 5))
    made = queries(fine)
    for row, positions in zip(made.x, made.side.positions, strict=True):
        assert torch.equal(row, queries.features)
        assert torch.equal(positions, queries.positions)


def test_no_queries_and_a_task_are_refused():
    with pytest.raises(ValueError, match="count must be positive, not 0"):
        LearnedQueries(6, count=0)
    with pytest.raises(ValueError, match="task must be None"):
        LearnedQueries(6, count=3)(Tokens(torch.randn(1, 4, 5)), torch.zeros(1))
