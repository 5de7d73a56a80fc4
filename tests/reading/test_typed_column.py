"""What a column of anything is taken for: numbers, dates or words."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading.typed_column import typed_column

NAN = float("nan")


def days(*moments: str) -> list[float]:
    return [np.datetime64(moment, "s").astype(np.int64) / 86_400 for moment in moments]


@pytest.mark.parametrize(
    "words, comma, expected, unit",
    [
        (["1", "2.5", "-3e2"], False, [1, 2.5, -300], ""),
        (["1,5", "", "\u22122"], True, [1.5, NAN, -2], ""),
        (["1,234.50", "12", "1,000,000"], False, [1234.5, 12, 1e6], ""),
        (["1.234,50", "0,5"], True, [1234.5, 0.5], ""),
        (["1.234", "2.500"], True, [1234, 2500], ""),
        (["1'234.5", "2"], False, [1234.5, 2], ""),
        (["1 234", "5\u00a0678"], False, [1234, 5678], ""),
        (["12 %", "7.5%", "n/a"], False, [12, 7.5, NAN], "%"),
        (["$1,200", "-$3.50", "($4)"], False, [1200, -3.5, -4], "$"),
        (["3,50 €", "1.200,00 €"], True, [3.5, 1200], "€"),
        (["CHF 12.5", "USD 3"], False, [12.5, 3], "CHF"),
    ],
)
def test_numbers_are_read_as_people_write_them(words, comma, expected, unit):
    column = typed_column("price", words, "a.csv", decimal_comma=comma)
    assert (column.kind, column.unit) == ("number", unit)
    np.testing.assert_array_equal(column.values, expected)


@pytest.mark.parametrize(
    "words, comma, expected",
    [
        (["2024-01-31", "", "2024-02-01T12:00:00"], False, [*days("2024-01-31"), NAN, *days("2024-02-01T12:00:00")]),
        (["31.1.2024", "1.2.24 06:30"], False, days("2024-01-31", "2024-02-01T06:30")),
        (["1/31/2024", "2/1/2024 11:05 PM"], False, days("2024-01-31", "2024-02-01T23:05")),
        (["31/1/2024", "1/2/2024"], False, days("2024-01-31", "2024-02-01")),
        (["3/4/2024"], False, days("2024-03-04")),
        (["3/4/2024"], True, days("2024-04-03")),
        (["2024-01-31T10:00:00+02:00", "2024-01-31T10:00:00Z"], False, days("2024-01-31T08:00", "2024-01-31T10:00")),
        (
            [dt.date(2024, 1, 31), None, np.datetime64("2024-02-01T01:00")],
            False,
            [*days("2024-01-31"), NAN, *days("2024-02-01T01:00")],
        ),
    ],
)
def test_dates_are_days_since_1970(words, comma, expected):
    column = typed_column("when", words, "a.csv", decimal_comma=comma)
    assert column.kind == "date"
    np.testing.assert_allclose(column.values, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "cells, words",
    [
        (["00123", "4567"], ("00123", "4567")),
        (["a", "NA", "3"], ("a", None, "3")),
        ([True, None, False], ("true", None, "false")),
        (["TRUE", "False", ""], ("true", "false", None)),
        (["True", "maybe"], ("True", "maybe")),
        ([1.0, "x", None, 2.5], ("1", "x", None, "2.5")),
        (["", None, NAN], (None, None, None)),
        (["31.13.2024", "1.1.2024"], ("31.13.2024", "1.1.2024")),
        (["1.2.3", "4"], ("1.2.3", "4")),
        (["12 kg", "9" * 5000 + "x"], ("12 kg", "9" * 5000 + "x")),
    ],
)
def test_all_else_is_words(cells, words):
    column = typed_column("x", cells, "a.csv")
    assert (column.kind, column.words) == ("word", words)


def test_python_and_numpy_numbers_are_numbers():
    given = [Decimal("1.5"), np.int16(3), NAN, True + 1, dt.timedelta(minutes=1)]
    np.testing.assert_array_equal(typed_column("x", given, "rows").values, [1.5, 3, NAN, 2, 60])
    np.testing.assert_array_equal(typed_column("x", np.array([1, 2], np.uint8), "rows").values, [1, 2])


@pytest.mark.parametrize(
    "cells, cause",
    [([1.0, float("inf")], "infinite in row 2"), ([[1], [2]], "holds a list"), ([b"x"], "holds a bytes")],
)
def test_what_is_no_value_is_told(cells, cause):
    with pytest.raises(InputError, match=f"^rows: the column 'x' .*{cause}"):
        typed_column("x", cells, "rows")
