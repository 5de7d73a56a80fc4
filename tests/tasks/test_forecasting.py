"""Forecasting: the contract, units, moments, intervals, learning from a table, and a converted encoder of patches."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.errors import InputError
from unimodal.fitting import fit_task
from unimodal.inference.evaluation import evaluate
from unimodal.model import Model
from unimodal.part import Part
from unimodal.reading.series import open_series
from unimodal.recipes.itransformer import itransformer
from unimodal.recipes.pre_norm import pre_norm
from unimodal.task import load_task
from unimodal.tasks.forecasting import Forecasting
from unimodal.tasks.parts.series_windows import series_windows
from unimodal.testing import check_task
from unimodal.tokenizers.time_series import TimeSeries


def encoder():
    torch.manual_seed(0)
    return itransformer(dim=32, depth=1, heads=2, lookback=24)().eval()


@pytest.fixture
def task():
    torch.manual_seed(1)
    return Forecasting(Forecasting.build(encoder(), horizons=(6, 12)).eval())


def waves(rows, *, noise=0.0, seed=0, start="2024-02-26T00"):
    t, rng = np.arange(rows), np.random.default_rng(seed)
    return {
        "date": np.datetime64(start, "s") + t * np.timedelta64(3600, "s"),
        "a": np.sin(2 * np.pi * t / 12) + noise * rng.normal(size=rows),
        "b": 50 + 10 * np.sin(2 * np.pi * (t - 3) / 12) + 10 * noise * rng.normal(size=rows),
    }


def write(path, columns, rows=None):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(list(zip(*(column[:rows] for column in columns.values()), strict=True)))
    return path


def test_it_keeps_the_contract_of_tasks(tmp_path):
    sources = [waves(80), waves(40), np.sin(np.arange(50.0)), np.random.default_rng(0).normal(size=(30, 4))]
    data = write(tmp_path / "waves.csv", waves(150, noise=0.1))
    assert len(check_task(Forecasting, data=data, sources=sources, encoder=encoder)) == 10


def test_the_forecast_is_the_heads_output_in_the_columns_own_units(task):
    sample = task.read(waves(100))
    prediction = task.predict([sample])[0]
    tokens = task.module.encoder(task.module.tokenizer.collate([sample])).x[0]
    for c, name in enumerate(("a", "b")):
        window = waves(100)[name][-24:]
        level = window.mean()
        scale = math.sqrt(window.var() + 1e-5 * waves(100)[name].var())
        expected = task.module.head(tokens[c]).double().detach().numpy() * scale + level
        assert prediction.forecast[:, c] == pytest.approx(expected, rel=1e-5)


def test_another_unit_of_a_column_is_that_of_its_forecast_and_other_names_change_nothing(task):
    given = waves(100, noise=0.2)
    one = task.predict([task.read(given)])[0]
    moved = {"date": given["date"], "x": given["a"] * 1e6 + 3e6, "y": given["b"] / 1e5}
    other = task.predict([task.read(moved)])[0]
    assert other.forecast == pytest.approx(one.forecast * [1e6, 1e-5] + [3e6, 0], rel=1e-4)
    for level, bounds in one.intervals.items():
        for one_side, other_side in zip(bounds, other.intervals[level], strict=True):
            assert other_side == pytest.approx(one_side * [1e6, 1e-5] + [3e6, 0], rel=1e-4, abs=1)


@pytest.mark.parametrize(
    ("stamps", "ahead"),
    [
        ([f"2024-02-28 {h:02d}:00" for h in range(24)], ["2024-02-29 00:00:00", "2024-02-29 01:00:00"]),
        ([f"{2000 + m // 12}-{m % 12 + 1:02d}-01" for m in range(30)], ["2002-07-01", "2002-08-01"]),
        ([str(1990 + y) for y in range(30)], ["2020-01-01", "2021-01-01"]),
        (None, ["31", "32"]),
    ],
)
def test_moments_go_on_as_they_came(task, tmp_path, stamps, ahead):
    count = len(stamps or range(30))
    named = {} if stamps is None else {"date" if len(stamps[0]) > 4 else "year": stamps}
    path = write(tmp_path / "x.csv", {**named, "a": np.random.default_rng(0).normal(size=count)})
    prediction = task.predict([task.read(path)])[0]
    (tmp_path / "out").mkdir()
    table, *charts = prediction.save(tmp_path / "out", "x")
    with table.open() as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:3]] == ahead
    assert len(rows) == 13
    assert rows[0][1:] == ["a", "a lower 95%", "a upper 95%", "a lower 80%", "a upper 80%"]
    assert [chart.name for chart in charts] == ["x.6.png", "x.12.png"]
    for chart in charts:
        with Image.open(chart) as picture:
            assert picture.size[0] == 1120
    bounds = np.array([[float(word) for word in row[1:]] for row in rows[1:]])
    assert (bounds[:, 1] <= bounds[:, 3]).all()
    assert (bounds[:, 4] <= bounds[:, 2]).all()
    assert bounds[:, 0] == pytest.approx(prediction.forecast[:, 0], rel=1e-5)


def test_intervals_are_the_quantiles_of_errors_times_the_windows_scale(task):
    quantiles = torch.tensor([-3.0, -1.0, 2.0, 4.0])[:, None] * torch.arange(1, 13) / 12
    task.module.set_errors(quantiles)
    sample = task.read(waves(100))
    prediction = task.predict([sample])[0]
    scale = np.array(sample.record.scale)
    for level, places in ((0.95, (0, 3)), (0.8, (1, 2))):
        for bound, place in zip(prediction.intervals[level], places, strict=True):
            expected = prediction.forecast + quantiles[place].numpy()[:, None] * scale
            assert bound == pytest.approx(expected, rel=1e-5)


def test_the_quantile_loss_is_least_at_the_quantiles(task):
    error = torch.randn(1000, 12, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.5, 2, 12) + 1
    error[::7, 3] = float("nan")
    optimizer = torch.optim.Adam([task.module.quantiles], lr=3e-3)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 6e-3 * (1 - step / 200)
        optimizer.zero_grad()
        task.module.quantile_loss(error).backward()
        optimizer.step()
    expected = torch.nanquantile(error, torch.tensor([0.025, 0.1, 0.9, 0.975]), 0)
    torch.testing.assert_close(
        task.module.errors_at(), expected, rtol=0, atol=0.2
    )  # where errors are sparse the loss is flat


def test_notes_tell_what_was_decided(task):
    given = {name: column[:20] for name, column in waves(20).items()}
    given["a"] = given["a"].copy()
    given["a"][18] = np.nan
    notes = task.predict([task.read(given)])[0].to_json()["notes"]
    assert any("fewer than the look-back of 24" in note for note in notes)
    assert any("missing and are interpolated" in note for note in notes)


def test_windows_of_a_table_are_every_row_with_what_follows(tmp_path):
    path = write(tmp_path / "x.csv", waves(100))
    pairs = series_windows(path, lookback=24, steps=12, least=6, units={"b": 5.0})
    assert len(pairs) == 100 - 24 - 6 + 1
    values = open_series(path).values.numpy()
    for end, (past, future) in zip(range(24, 95), pairs, strict=True):
        assert np.array_equal(past.values.numpy(), values[:end])
        assert np.array_equal(future.values, values[end : end + 12])
        assert future.learned == min(max(0, 80 - end), len(future.values))
        assert future.unit.tolist() == pytest.approx([values[:80, 0].std(), 5.0])


def test_rows_held_out_do_not_move_the_forecast_and_rows_learned_from_not_the_intervals(task, tmp_path):
    path = write(tmp_path / "x.csv", waves(100, noise=0.2))
    pairs = series_windows(path, lookback=24, steps=12, least=6, units={})
    task.module.train()
    for chosen, moved, still in ((pairs[0], "head.weight", "quantiles"), (pairs[-1], "quantiles", "head.weight")):
        task.module.zero_grad(set_to_none=True)
        task.loss([task.read(chosen[0])], [chosen[1]]).backward()
        grads = {name: p.grad for name, p in task.module.named_parameters() if not name.startswith("encoder.")}
        assert grads[moved].any()
        assert grads[still] is None or not grads[still].any()


def test_it_learns_a_table_from_the_command_lines_own_steps_and_measures_another(tmp_path):
    data = waves(700, noise=0.05)
    train = write(tmp_path / "train.csv", data, 500)
    test = write(tmp_path / "test.csv", {name: column[476:] for name, column in data.items()})
    from unimodal.checkpoint import save
    from unimodal.provenance import Provenance

    part = itransformer(dim=32, depth=1, heads=2, lookback=24)
    torch.manual_seed(0)
    save(part(), tmp_path / "encoder", part=part, provenance=Provenance({"": "trained"}))
    card = fit_task(
        "forecasting", train, tmp_path / "out", encoder=str(tmp_path / "encoder"), steps=150, batch=24, rate=2e-2
    )
    assert card["options"]["horizons"] == [50]
    loaded = load_task("forecasting", tmp_path / "out")
    figures = evaluate(loaded, test).metrics
    assert set(figures) == {"mse_50", "mae_50", "coverage_80", "coverage_95"}
    values = np.stack([data["a"], data["b"]], 1)
    unit = values[476:].std(0)
    naive = np.mean([((values[e - 1] - values[e : e + 50]) / unit) ** 2 for e in range(500, 651)])
    assert figures["mse_50"] < 0.1 * naive
    assert 0.7 < figures["coverage_80"] < 0.9
    assert 0.88 < figures["coverage_95"] < 0.99


def test_an_encoder_of_patches_can_be_stood_on(tmp_path):
    for together in (True, False):
        part = Part(
            Model,
            dim=32,
            tokenizers={"time_series": Part(TimeSeries, steps=24, patch=8, stride=4, channel_independent=not together)},
            transformer=pre_norm(depth=1, heads=2, hidden=64),
        )
        torch.manual_seed(0)
        task = Forecasting(Forecasting.build(part().eval(), horizons=(12,)).eval())
        samples = [task.read(waves(60)), task.read(np.random.default_rng(0).normal(size=(40, 3)))]
        both = task.predict(samples)
        assert [p.forecast.shape for p in both] == [(12, 2), (12, 3)]
        alone = task.predict(samples[1:])[0]
        assert both[1].forecast == pytest.approx(alone.forecast, rel=1e-4, abs=1e-5)
        with pytest.raises(InputError, match="24 are needed"):
            task.read(np.arange(10.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizons": ()}, "horizons must be rising"),
        ({"horizons": (12, 6)}, "horizons must be rising"),
        ({"levels": (0.5, 1.0)}, "levels must be rising shares"),
        ({"horizons": 7}, "horizons must be rising numbers of steps, as .* not 7"),
        ({"horizons": "24,48"}, "horizons must be .* not '24,48'"),
        ({"horizons": (7.5,)}, "horizons must be"),
        ({"levels": 0.5}, "levels must be .* not 0.5"),
        ({"units": "own"}, "units must be standard deviations by column, not 'own'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Forecasting.build(encoder(), **options)


def test_an_encoder_that_reads_no_series_of_one_length_is_refused():
    from unimodal.recipes.small_image_encoder import small_image_encoder

    with pytest.raises(ValueError, match="needs an encoder of series; this one reads image"):
        Forecasting.build(small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))())
    part = Part(Model, dim=32, tokenizers={"time_series": Part(TimeSeries)}, transformer=pre_norm(depth=1, heads=2,
                hidden=64))  # fmt: skip
    with pytest.raises(ValueError, match="give it steps"):
        Forecasting.build(part())


def test_a_table_too_short_or_a_folder_without_series_is_named(task, tmp_path):
    path = write(tmp_path / "short.csv", waves(7))
    with pytest.raises(InputError, match=r"short.csv: is too short to learn or measure 6 steps"):
        task.labelled(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no series"):
        task.labelled(tmp_path / "empty")


def test_a_folder_of_tables_is_one_data_set(task, tmp_path):
    write(tmp_path / "a.csv", waves(50))
    write(tmp_path / "b.csv", {name: waves(60)[name] for name in ("date", "a")})
    pairs = task.labelled(tmp_path)
    assert len(pairs) == (50 - 24 - 6 + 1) + (60 - 24 - 6 + 1)
    assert task.loss([task.read(pairs[0][0]), task.read(pairs[-1][0])], [pairs[0][1], pairs[-1][1]]).isfinite()
    assert Forecasting.options_from(tmp_path) == {}
