"""Strips: which keys a query sees, cell by cell, and what is refused."""

import pytest
import torch

from unimodal.kernels.strips import Strips


@pytest.mark.parametrize("strips", [Strips(3), Strips(3, 4, 2), Strips(4, 6, 6, window=6), Strips(3, 3, causal=True)])
def test_a_query_sees_the_keys_around_its_own_strip(strips):
    place = torch.arange(-4, 20)
    seen = strips.seen(place[:, None], place)
    for i, query in enumerate(place.tolist()):
        own = range(query // strips.rows * strips.rows, query // strips.rows * strips.rows + strips.rows)
        for j, key in enumerate(place.tolist()):
            expected = own.start - strips.behind <= key < own.stop + strips.ahead
            expected &= strips.window is None or abs(key - query) <= strips.window
            expected &= not strips.causal or key <= query
            assert bool(seen[i, j]) == expected, (query, key)


def test_a_window_is_the_same_whatever_the_rows():
    place = torch.arange(40)
    wanted = (place - place[:, None]).abs() <= 5
    for rows in (1, 3, 64):
        assert torch.equal(Strips(rows, 5, 5, window=5).seen(place[:, None], place), wanted)


def test_sizes_that_do_not_exist_raise():
    with pytest.raises(ValueError, match="rows is a number of queries, at least 1, not 0"):
        Strips(0)
    for name in ("behind", "ahead", "window"):
        with pytest.raises(ValueError, match=f"{name} is a number of tokens, at least 0, not -1"):
            Strips(1, **{name: -1})  # pyright: ignore[reportArgumentType]
