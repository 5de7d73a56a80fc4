"""An even grid under uneven stamps: what is even stays itself, what is not is interpolated on it."""

import datetime

import numpy as np
import pytest
import torch

from unimodal.reading.even_grid import even_grid
from unimodal.reading.series import Series, open_series


def series_at(times, **more):
    times = np.asarray(times, dtype=np.float64)
    return Series("x", torch.from_numpy(3 * times)[:, None], ("x",), torch.from_numpy(times), **more)


def test_even_stamps_months_and_no_stamps_are_left_alone():
    months = np.arange("2020-01", "2021-06", dtype="datetime64[M]").astype("datetime64[s]")
    ends = (months.astype("datetime64[M]") + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    hours = np.datetime64("2020-01-01", "s") + np.arange(17) * np.timedelta64(3600, "s")
    for given in ({"t": months, "x": np.arange(17.0)}, {"t": ends, "x": np.arange(17.0)},
                  {"t": hours, "x": np.arange(17.0)}, np.arange(17.0)):  # fmt: skip
        series = open_series(given)
        assert even_grid(series) is series


def test_rows_that_were_left_out_come_back_and_the_others_stay():
    whole = np.arange(30) * 60.0
    found = even_grid(series_at(np.delete(whole, [4, 5, 17])))
    assert found.values[:, 0].tolist() == pytest.approx((3 * whole).tolist())
    assert found.step_s == 60.0
    assert found.notes == ("steps are uneven and were interpolated to even ones of 1 min",)


def test_no_more_than_the_last_steps_that_are_asked_for():
    start = datetime.datetime(2024, 1, 1)
    found = even_grid(series_at([0, 10, 20, 25, 30, 40], start=start), steps=3)
    assert found.values[:, 0].tolist() == pytest.approx([60, 90, 120])
    assert found.start == datetime.datetime(2024, 1, 1, 0, 0, 20)


def test_one_stamp_far_away_does_not_fill_the_memory():
    assert len(even_grid(series_at([0, 1, 2, 3, 1e12])).values) == 50
