"""Columns as tokens: the equation, its invariances, time features, gaps, short series, and sources that are refused."""

import datetime
import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from unimodal.errors import InputError
from unimodal.testing import check_tokenizer
from unimodal.tokenizers.variates import Variates


def table(rows=120, *, start="2024-01-01", step_s=3600, columns=("a", "b")):
    t = np.arange(rows)
    moments = np.datetime64(start, "s") + (t * step_s).astype("timedelta64[s]")
    rng = np.random.default_rng(1)
    return {"date": moments, **{name: rng.normal(size=rows).cumsum() + 5 * i for i, name in enumerate(columns)}}


def csv(columns, *, delimiter=",", missing=()):
    names = list(columns)
    lines = [delimiter.join(names)]
    for i in range(len(columns[names[0]])):
        lines.append(delimiter.join("" if (i, n) in missing else str(columns[n][i]) for n in names))
    return "\n".join(lines).encode()


def test_it_keeps_the_contract_of_tokenizers():
    assert len(check_tokenizer("variates", Variates)) == 8


def test_a_token_is_the_linear_map_of_the_scaled_window_and_of_each_time_feature():
    given, tokenizer = table(rows=60), Variates(7, lookback=24).double()
    tokens = tokenizer(tokenizer.collate([tokenizer.read(given)])).x[0]
    weight, bias = tokenizer.embed.weight, tokenizer.embed.bias
    for c, name in enumerate(("a", "b")):
        whole, window = given[name].tolist(), given[name][-24:].tolist()
        mean = sum(window) / 24
        level = sum(whole) / 60
        unit = sum((v - level) ** 2 for v in whole) / 60
        sigma = math.sqrt(sum((v - mean) ** 2 for v in window) / 24 + 1e-5 * unit)
        for d in range(7):
            expected = bias[d] + sum(weight[d, i] * (v - mean) / sigma for i, v in enumerate(window))
            assert tokens[c, d].item() == pytest.approx(expected.item(), abs=1e-6)  # data are float32
    for i, moment in enumerate(given["date"][-24:]):
        at = datetime.datetime.fromisoformat(str(moment))
        features = (at.hour / 23, at.weekday() / 6, (at.day - 1) / 30, (at.timetuple().tm_yday - 1) / 365)
        held = tokenizer.read(given).data[2:, i]
        assert held.tolist() == pytest.approx([f - 0.5 for f in features], abs=1e-6)
    assert tokens.shape == (2 + 4, 7)


def test_permuted_columns_give_permuted_tokens_and_an_affine_column_the_same():
    given, tokenizer = table(columns=("a", "b", "c")), Variates(16)
    tokens = tokenizer(tokenizer.collate([tokenizer.read(given)])).x
    swapped = {name: given[name] for name in ("date", "c", "a", "b")}
    again = tokenizer(tokenizer.collate([tokenizer.read(swapped)])).x
    torch.testing.assert_close(again, tokens[:, [2, 0, 1, 3, 4, 5, 6]], rtol=0, atol=1e-6)
    for factor in (1e-7, 3.0, 1e9):
        moved = {**given, "a": given["a"] * factor - 4 * factor}
        same = tokenizer(tokenizer.collate([tokenizer.read(moved)])).x
        torch.testing.assert_close(same, tokens, rtol=0, atol=1e-5)


def test_the_record_gives_the_columns_back_in_their_own_units():
    given, tokenizer = table(), Variates(8, lookback=48)
    sample = tokenizer.read(given)
    assert sample.record.taken == (72, 120)
    assert sample.record.names == ("a", "b")
    back = sample.record.restore(sample.data[:2].mT.double())
    torch.testing.assert_close(back[:, 1], torch.from_numpy(given["b"][72:]), rtol=0, atol=1e-5)


def test_rows_before_the_look_back_have_no_influence_but_on_the_unit_of_epsilon():
    given, tokenizer = table(), Variates(8, lookback=48)
    before = tokenizer.read(given).data
    changed = {**given, "a": np.where(np.arange(120) < 72, given["a"] * -1, given["a"])}
    torch.testing.assert_close(tokenizer.read(changed).data, before, rtol=0, atol=1e-3)


def test_missing_values_are_interpolated_within_the_window_and_said():
    given, tokenizer = table(), Variates(8, lookback=48)
    holes = {(100, "a"), (101, "a"), (119, "b"), (72, "b")}
    sample = tokenizer.read(csv(given, missing=holes))
    restored = sample.record.restore(sample.data[:2].mT.double())
    third = (given["a"][102] - given["a"][99]) / 3
    assert restored[28:30, 0].tolist() == pytest.approx([given["a"][99] + third, given["a"][99] + 2 * third], abs=1e-4)
    assert restored[-1, 1].item() == pytest.approx(given["b"][118], abs=1e-4)
    assert restored[0, 1].item() == pytest.approx(given["b"][73], abs=1e-4)
    assert "4 of 96 values of the look-back were missing and are interpolated" in sample.record.notes


def test_a_column_without_a_value_in_the_window_holds_its_last_one_before():
    given = table()
    given["a"][60:] = np.nan
    sample = Variates(8, lookback=48).read(given)
    assert sample.record.restore(sample.data[:2].mT.double())[:, 0].tolist() == pytest.approx([given["a"][59]] * 48)
    assert any("a has no value in the last 48 rows" in note for note in sample.record.notes)


def test_a_short_series_is_held_at_its_first_row_and_said():
    sample = Variates(8, lookback=48).read(table(rows=20))
    assert sample.data.shape == (6, 48)
    assert (sample.data[:, :29] == sample.data[:, :1]).all()
    assert "20 rows are fewer than the look-back of 48; the first one is held" in sample.record.notes


def test_rows_that_were_left_out_are_filled_on_an_even_grid():
    given = table(rows=200)
    t = np.arange(200)
    given["a"] = 2.0 * t + 1
    kept = {name: np.delete(column, [150, 151, 180]) for name, column in given.items()}
    sample, whole = Variates(8, lookback=48).read(kept), Variates(8, lookback=48).read(given)
    torch.testing.assert_close(sample.data[0], whole.data[0], rtol=0, atol=1e-4)
    assert torch.equal(sample.data[2:], whole.data[2:])
    assert any("interpolated to even ones of 1 h" in note for note in sample.record.notes)


def test_months_are_even_steps():
    months = np.arange("2010-01", "2020-01", dtype="datetime64[M]").astype("datetime64[D]")
    sample = Variates(8).read({"month": months, "x": np.arange(120.0)})
    assert not any("uneven" in note for note in sample.record.notes)


def test_a_constant_column_stays_finite():
    given = {**table(), "c": np.full(120, 0.1)}
    assert Variates(8).read(given).data.isfinite().all()


def test_files_of_several_kinds_are_one_series(tmp_path):
    given, tokenizer = table(), Variates(8)
    expected = tokenizer.read(given).data
    german = csv(given, delimiter=";").replace(b".", b",")
    (tmp_path / "de.csv").write_bytes(german)
    pq.write_table(pa.table({k: pa.array(v) for k, v in given.items()}), tmp_path / "x.parquet")
    for source in (csv(given), io.BytesIO(csv(given)), tmp_path / "de.csv", tmp_path / "x.parquet"):
        torch.testing.assert_close(tokenizer.read(source).data, expected, rtol=0, atol=1e-5)


def test_dropout_acts_while_training_only():
    tokenizer = Variates(64, rate=0.5).train()
    batch = tokenizer.collate([tokenizer.read(table())])
    assert 0.3 < (tokenizer(batch).x == 0).float().mean() < 0.7
    assert not (tokenizer.eval()(batch).x == 0).any()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gone.csv", "does not exist"),
        (b"", "is empty"),
        (b"\x00\x01\x02\x03" * 40, "is no text"),
        (b"a,b\n", "has a header and no rows"),
        (b"date,a\n2024-01-01,1\n", "a series has at least 2"),
        (b"date,a\n2024-01-01,1\n2024-01-02\n2024-01-03,4\n", "its rows are ragged"),
        (b"date,a\n2024-01-02,1\n2024-01-01,2\n2024-01-03,3\n", "order of time"),
        (b"date,a\n2024-01-01,one\n2024-01-02,two\n2024-01-03,red\n", "has no column of numbers"),
        (b"date,a\n2024-01-01,1\n2024-01-02,inf\n2024-01-03,3\n", "is infinite in row 2"),
        (b"date,a\n2024-01-01,\n2024-01-02,\n2024-01-03,\n", "has no column of numbers|no value"),
        (b"PAR1 and nothing else", "damaged Parquet"),
        (np.zeros((3, 4, 5)), "shape"),
    ],
)
def test_a_bad_source_is_named_with_its_cause(source, words):
    with pytest.raises(InputError, match=words):
        Variates(8).read(source)


@pytest.mark.parametrize(("settings", "words"), [({"lookback": 1}, "lookback must be"), ({"rate": 1.0}, "rate is a")])
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Variates(8, **settings)


def test_no_samples_make_no_batch_and_a_narrow_width_no_way_back():
    tokenizer = Variates(8)
    with pytest.raises(ValueError, match="samples is empty"):
        tokenizer.collate([])
    with pytest.raises(ValueError, match="not invertible"):
        tokenizer.detokenize(tokenizer(tokenizer.collate([tokenizer.read(table())])))
