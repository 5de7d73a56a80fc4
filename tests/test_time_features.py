"""Time features against the calendar of the standard library."""

import datetime

import numpy as np
import pytest

from unimodal.time_features import NAMES, time_features


def test_they_are_the_calendars_places_from_minus_a_half_to_a_half():
    start = datetime.datetime(2019, 12, 25, 3, 30)
    moments = [start + datetime.timedelta(hours=17 * i) for i in range(1200)]
    found = time_features(np.array(moments, dtype="datetime64[us]"))
    assert found.shape == (len(NAMES), 1200)
    for i, at in enumerate(moments):
        expected = (at.hour / 23, at.weekday() / 6, (at.day - 1) / 30, (at.timetuple().tm_yday - 1) / 365)
        assert found[:, i].tolist() == pytest.approx([value - 0.5 for value in expected], abs=1e-12)
    assert found.min() == -0.5
    assert found.max() == 0.5  # a leap year has its 366th day


def test_moments_before_1970_are_in_their_own_day():
    found = time_features(np.array(["1969-12-31T23", "1900-01-01T00"], dtype="datetime64[s]"))
    assert found[0].tolist() == [0.5, -0.5]
    assert found[1].tolist() == pytest.approx([2 / 6 - 0.5, -0.5])
