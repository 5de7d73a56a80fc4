"""The parts of a forecast: ticks of axes, the chart, and the scores."""

import dataclasses
import datetime

import numpy as np
import pytest

from unimodal.tasks.parts.axis_ticks import number_ticks, time_ticks
from unimodal.tasks.parts.forecast_chart import BANDS, INK, LINE, forecast_chart
from unimodal.tasks.parts.forecast_prediction import ForecastPrediction
from unimodal.tasks.parts.forecast_score import ForecastScore
from unimodal.tasks.parts.series_windows import Future


def seconds(*moment):
    return datetime.datetime(*moment, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize("low", [-3.7, 0.0, 1e-9, 123456.0])
@pytest.mark.parametrize("span", [1e-6, 0.3, 1.0, 7.0, 99.0, 4e8])
@pytest.mark.parametrize("most", [2, 4, 6])
def test_number_ticks_are_round_within_the_range_and_not_too_many(low, span, most):
    ticks = number_ticks(low, low + span, most)
    assert len(ticks) <= most + 1
    steps = np.diff([value for value, _ in ticks])
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value, _ in ticks)
    if len(steps):
        lead = f"{steps[0]:.2e}"[0]
        assert lead in "125", f"a step of {steps[0]}"
        assert steps == pytest.approx(np.full(len(steps), steps[0]), rel=1e-3)


def test_number_ticks_have_as_many_decimals_as_they_need():
    assert [word for _, word in number_ticks(0, 1, 5)] == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [word for _, word in number_ticks(-1000, 1000, 3)] == ["-1,000", "0", "1,000"]
    assert number_ticks(5.0, 5.0, 3) == [(5.0, "5.000")]


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (seconds(2024, 2, 28), seconds(2024, 3, 2), ["28 Feb", "29 Feb", "1 Mar", "2 Mar"]),
        (seconds(2024, 5, 1, 10), seconds(2024, 5, 1, 13), ["10:00", "11:00", "12:00", "13:00"]),
        (seconds(2023, 12, 15), seconds(2024, 3, 20), ["Jan 2024", "Feb 2024", "Mar 2024"]),
        (seconds(1985, 6, 1), seconds(2024, 6, 1), ["1990", "2000", "2010", "2020"]),
        (seconds(1955, 1, 1), seconds(1985, 1, 1), ["1960", "1970", "1980"]),
    ],
)
def test_time_ticks_are_round_moments(begin, end, words):
    assert [word for _, word in time_ticks(begin, end, 4)] == words


def test_ticks_of_plain_numbers_are_numbers():
    assert [word for _, word in time_ticks(0, 100, 2, dated=False)] == ["0", "50", "100"]


def prediction(columns=2, steps=8):
    past, future = np.arange(20.0), np.arange(20.0, 20 + steps)
    values = np.stack([np.sin(past + c) for c in range(columns)], 1)
    forecast = np.zeros((steps, columns))
    bounds = {0.5: (forecast - 1, forecast + 1), 0.9: (forecast - 3, forecast + 3)}
    names = tuple(f"c{i}" for i in range(columns))
    return ForecastPrediction("x.csv", names, (past, values), (future, forecast), bounds, (4, steps), False, "row")


def colours(picture):
    return {colour for _, colour in picture.getcolors(1 << 24)}


def test_the_chart_has_history_forecast_and_bands_where_they_belong():
    one = prediction(columns=1)
    picture = np.asarray(one.chart(8)).astype(int)
    assert {INK, LINE, BANDS[0], BANDS[1]} <= colours(one.chart(8))
    wide, narrow, line = ((picture[100:] == colour).all(-1) for colour in (BANDS[0], BANDS[1], LINE))
    rows = [np.flatnonzero(found[:, 1060]) for found in (wide, narrow, line)]
    middle = rows[2].mean()
    for found, reach in ((rows[0], 3), (rows[1], 1)):
        assert middle - found.min() == pytest.approx(found.max() - middle, abs=3)
        assert (found.max() - middle) / (rows[0].max() - middle) == pytest.approx(reach / 3, abs=0.03)
    assert not wide[:, :700].any(), "no band lies over the history"


@pytest.mark.parametrize("columns", [1, 2, 3, 9, 30])
def test_any_number_of_columns_makes_a_picture_of_a_screen(columns):
    picture = prediction(columns).chart()
    assert picture.size[0] == 1120
    assert 300 < picture.size[1] < 1300


def test_a_person_sees_the_span_the_notes_and_the_widest_interval_of_few_columns():
    shown = dataclasses.replace(prediction(), notes=("left out: town (text)",)).render()
    assert shown["text"] == "4 steps, from 20 to 23.\nLeft out: town (text)."
    assert list(shown["table"][0]) == [
        "row",
        "c0",
        "c0 lower 90%",
        "c0 upper 90%",
        "c1",
        "c1 lower 90%",
        "c1 upper 90%",
    ]
    assert shown["table"][3] == dict(zip(shown["table"][0], ("23", 0.0, -3.0, 3.0, 0.0, -3.0, 3.0), strict=True))
    assert list(prediction(4).render()["table"][0]) == ["row", "c0", "c1", "c2", "c3"]
    assert prediction(steps=4).render()["text"].startswith("4 steps")


def test_constant_huge_and_missing_values_can_be_drawn():
    past = np.stack([np.full(20, 7.0), np.linspace(1e12, 2e12, 20), np.full(20, np.nan)], 1)
    future = np.stack([np.full(3, 7.0), np.full(3, 2e12), np.full(3, 1.0)], 1)
    picture = forecast_chart(
        ("a", "b", "c" * 200),
        (np.arange(20.0), past),
        (np.arange(20.0, 23), future),
        {0.8: (future, future)},
        title="t",
        dated=False,
    )
    assert LINE in colours(picture)


def test_scores_are_means_in_units_of_each_column_and_merge():
    one = prediction()
    truth = np.random.default_rng(0).normal(size=(8, 2)) * 2
    truth[3, 1] = np.nan
    unit = np.array([2.0, 0.5])
    held = [(truth[s, c], unit[c]) for s in range(8) for c in range(2) if np.isfinite(truth[s, c])]
    expected = {
        "mse": sum((v / u) ** 2 for v, u in held) / 15,
        "mae": sum(abs(v / u) for v, u in held) / 15,
        "coverage": sum(-1 <= v <= 1 for v, _ in held) / 15,
    }
    for figure, value in expected.items():
        score, other = (ForecastScore(figure, steps=8, level=0.5) for _ in range(2))
        score.update(one, Future(truth, unit, 0))
        assert score.compute() == pytest.approx(value)
        other.update(one, Future(truth[:5], unit, 0))  # fewer steps than the score is of
        score.merge(other)
        if figure != "coverage":
            assert score.compute() == pytest.approx(value)
    with pytest.raises(ValueError, match="figure must be"):
        ForecastScore("rmse")


def test_moments_are_told_as_a_spreadsheet_reads_them():
    one = prediction()
    assert one.to_json()["begin"] == "20"
    days = ForecastPrediction("x", ("a",), (np.zeros(1), np.zeros((1, 1))), (86400.0 * np.arange(2), np.zeros((2, 1))),
                              {}, (2,), True)  # fmt: skip
    assert (days.to_json()["begin"], days.to_json()["end"]) == ("1970-01-01", "1970-01-02")
    odd = ForecastPrediction("x", ("a",), (np.zeros(1), np.zeros((1, 1))), (np.array([0.5]), np.zeros((1, 1))),
                             {}, (1,), True)  # fmt: skip
    assert odd.to_json()["begin"] == "1970-01-01 00:00:00.500"
