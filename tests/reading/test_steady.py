"""Values at a fixed rate against numpy's interpolation and means by many small steps."""

import numpy as np
import pytest

from unimodal.reading.steady import steady

NOISE = np.random.default_rng(0)


def test_measurements_at_the_steps_are_given_back():
    values = NOISE.normal(size=(40, 3))
    found, steps = steady(np.arange(40) / 50, values, 50.0, last=1000)
    assert steps == 40
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(steady(np.arange(40) / 50, values, 50.0, last=7)[0], values[-7:])


def test_a_slower_recording_is_read_on_the_lines_between():
    times = np.cumsum(NOISE.uniform(0.02, 0.09, 60)) - 0.02
    times -= times[0]
    values = NOISE.normal(size=(60, 1))
    found, steps = steady(times, values, 50.0, last=1000)
    np.testing.assert_allclose(found[:, 0], np.interp(np.arange(steps) / 50, times, values[:, 0]))


def test_a_faster_recording_is_averaged_over_each_step():
    times = np.cumsum(NOISE.uniform(0.0005, 0.0015, 4000))
    times -= times[0]
    values = NOISE.normal(size=(4000, 1))
    found, steps = steady(times, values, 50.0, last=10_000)
    for i in range(1, steps - 1):
        moments = np.linspace(i / 50 - 0.01, i / 50 + 0.01, 20_001)
        assert found[i, 0] == pytest.approx(np.interp(moments, times, values[:, 0]).mean(), abs=1e-3)


def test_what_is_faster_than_the_rate_does_not_fold_into_it():
    times = np.arange(8000) / 1000
    hum = np.sin(2 * np.pi * 50.0 * times)[:, None]  # read at 50 Hz it would be a constant
    assert np.abs(steady(times + 0.0, hum, 50.0, last=10_000)[0][1:-1]).max() < 1e-3


def test_missing_values_lie_between_their_neighbours():
    values = np.arange(10.0)[:, None]
    holes = values.copy()
    holes[3:6] = np.nan
    np.testing.assert_allclose(steady(np.arange(10) / 5, holes, 5.0, last=99)[0], values)


def test_a_long_pause_costs_no_memory():
    found, steps = steady(np.array([0.0, 1.0, 1e9]), np.array([[0.0], [1.0], [2.0]]), 100.0, last=20)
    assert found.shape == (20, 1)
    assert steps == 100_000_000_001 or steps > 99_999_999_999
