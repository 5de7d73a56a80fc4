"""Names and units of inertial sensors as phones, watches and loggers write them."""

import numpy as np
import pytest

from unimodal.reading.inertial import KINDS, UNITS, Triad, triads_of, unit_of


@pytest.mark.parametrize(
    "pattern, kind, unit",
    [
        ("a{}", 0, None),
        ("acc_{}", 0, None),
        ("Acc{U}", 0, None),
        ("accelerometer{U} (g)", 0, "g"),
        ("Linear Acceleration {} (m/s^2)", 0, "m/s2"),
        ("userAcceleration.{}", 0, None),
        ("accel_{}_mg", 0, "mg"),
        ("ACC {U} [m/s²]", 0, "m/s2"),
        ("wrist acc {}", 0, None),
        ("{}_acceleration", 0, None),
        ("g{}", 1, None),
        ("gyro_{} (deg/s)", 1, "deg/s"),
        ("Gyroscope {} (rad/s)", 1, "rad/s"),
        ("rotationRate{U}", 1, None),
        ("gyr_{}_dps", 1, "dps"),
        ("angular_velocity.{}", 1, None),
        ("{U} (rad/s)", 1, "rad/s"),
        ("mag{U}", 2, None),
        ("Magnetic field {} (µT)", 2, "uT"),
        ("m{}", 2, None),
    ],
)
def test_three_axes_of_a_sensor_are_found(pattern, kind, unit):
    names = ["time", *(pattern.format(axis, U=axis.upper()) for axis in "zxy"), "label"]
    assert triads_of(names) == [Triad(kind, (2, 3, 1), {"dps": "deg/s"}.get(unit, unit))]


def test_several_sensors_keep_the_order_of_the_file():
    names = [f"{place}_{sensor}_{axis}" for place in ("hand", "foot") for sensor in ("gyro", "acc") for axis in "xyz"]
    assert [(triad.kind, triad.columns[0]) for triad in triads_of(names)] == [(1, 0), (0, 3), (1, 6), (0, 9)]
    assert triads_of(["ax1", "ay1", "az1", "ax2", "ay2", "az2"])[1].columns == (3, 4, 5)


def test_bare_axes_are_an_accelerometer_and_say_so():
    assert triads_of(["x", "y", "z"]) == [Triad(0, (0, 1, 2), None, named=False)]


@pytest.mark.parametrize(
    "names",
    [["HUFL", "OT"], ["ax", "ay"], ["tax", "day", "jazz"], ["size x", "size y", "size z"], ["max", "may", "maz1"]],
)
def test_other_columns_are_no_sensor(names):
    assert triads_of(names) == []


@pytest.mark.parametrize("unit", UNITS)
def test_sizes_of_ordinary_motion_tell_units_apart(unit):
    kind, size = UNITS[unit]
    if unit in ("mdeg/s", "rpm", "mT", "nT", "mgauss"):
        return  # rare; a header or the setting says them
    ordinary = (9.9, 1.5, 45.0)[kind] * np.array([[0.6, 0.0, 0.8], [0.0, 0.8, 0.6], [np.nan, 0.6, 0.8]])
    assert unit_of(kind, ordinary / size)[0] == unit
    assert KINDS[kind] in unit_of(kind, ordinary / size)[1]
