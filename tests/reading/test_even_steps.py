"""The last steps of a series: even ones as they are, uneven ones interpolated, gaps and short ones said."""

import datetime

import numpy as np
import pytest
import torch

from unimodal.reading.even_steps import even_steps
from unimodal.reading.series import Series, open_series


def test_even_rows_are_taken_as_they_are():
    series = open_series(np.arange(20.0))
    window = even_steps(series, 8)
    assert window.values[:, 0].tolist() == list(range(12, 20))
    assert window.notes == series.notes


def test_uneven_rows_are_interpolated_back_from_the_last_one():
    times = np.array([0.0, 10, 20, 30, 34, 40, 50, 60])
    start = datetime.datetime(2024, 5, 1)
    series = Series("x", torch.from_numpy(2 * times + 1)[:, None], ("x",), torch.from_numpy(times), start)
    window = even_steps(series, 4)
    assert window.values[:, 0].tolist() == pytest.approx([61, 81, 101, 121])
    assert window.step_s == 10
    assert window.moments is not None
    assert str(window.moments[-1]).startswith("2024-05-01T00:01:00")
    ahead = window.ahead(1)
    assert ahead is not None
    assert str(ahead[0]).startswith("2024-05-01T00:01:10")
    assert any("interpolated to even ones of 10 s" in note for note in window.notes)


def test_a_gap_is_filled_from_the_window_alone():
    values = np.array([5.0, np.nan, 7, np.nan, np.nan, 10, np.nan])
    window = even_steps(open_series(values), 5)
    assert window.values[:, 0].tolist() == pytest.approx([7, 8, 9, 10, 10])
    before = values.copy()
    before[0] = 900.0
    assert torch.equal(even_steps(open_series(before), 5).values, window.values)


def test_the_given_series_is_left_as_it_was():
    series = open_series(np.array([1.0, np.nan, 3.0]))
    even_steps(series, 2)
    assert series.values[1, 0].isnan()


def test_a_column_without_any_value_is_zero():
    values = np.stack([np.arange(6.0), np.full(6, np.nan)], 1)
    series = Series("x", torch.from_numpy(values), ("a", "b"))
    assert even_steps(series, 4).values[:, 1].tolist() == [0.0] * 4
