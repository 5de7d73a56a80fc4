"""Series from files as spreadsheets, loggers and archives write them, and what is refused."""

import contextlib
import gzip
import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from unimodal.errors import InputError
from unimodal.reading.series import Series, SeriesRecord
from unimodal.reading.series import open_series as opened

ROWS = [f"2021-03-{day:02d},{day},{-day / 2}" for day in range(1, 21)]
PLAIN = "\n".join(["date,load,temp", *ROWS]).encode()


def open_series(source: Any, **settings: Any) -> Any:
    """Any, because a test knows which fields are not None."""
    return opened(source, **settings)


def hours(count: int, form: str) -> list[str]:
    return [datetime.fromtimestamp(1_700_000_000 + 3600 * h, UTC).strftime(form) for h in range(count)]


def column(stamps: list[str], header: str = "date", sign: str = ",") -> bytes:
    return "\n".join([f"{header}{sign}v", *(f'"{s}"{sign}{i}' for i, s in enumerate(stamps))]).encode()


def test_a_plain_file_has_its_times_channels_and_step():
    series = open_series(PLAIN)
    assert series.names == ("load", "temp")
    assert series.time_column == "date"
    assert series.start == datetime(2021, 3, 1)
    assert series.step_s == 86400
    assert torch.equal(series.values, torch.tensor([[d, -d / 2] for d in range(1, 21)], dtype=torch.float64))
    assert torch.equal(series.times_s, 86400 * torch.arange(20, dtype=torch.float64))


def test_a_european_spreadsheet_is_read():
    rows = ["Datum;Last;Außen", *(f"{d:02d}.01.2022 {d:02d}:30;1.234,5;-{d},25" for d in range(1, 15))]
    series = open_series("\r\n".join(rows).encode("utf-8-sig"))
    assert series.names == ("Last", "Außen")
    assert series.start == datetime(2022, 1, 1, 1, 30)
    assert series.values[0].tolist() == [1234.5, -1.25]
    assert series.step_s == 90000


def test_days_and_times_in_two_columns_are_one():
    rows = ["Date;Time;CO", *(f"10/03/2004;{h:02d}.00.00;2,{h}" for h in range(18, 24)), "11/03/2004;00.00.00;1,5"]
    series = open_series("\n".join(rows).encode())
    assert series.time_column == "Date Time"
    assert series.step_s == 3600
    assert series.start == datetime(2004, 3, 10, 18)


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y/%m/%d %H:%M",
        "%d.%m.%Y %H:%M",
        "%d/%m/%Y %H:%M:%S",
        "%m/%d/%Y %I:%M %p",
        "%d-%b-%Y %H:%M",
        "%b %d, %Y %H:%M:%S",
        "%d.%m.%y %H:%M",
        "%Y-%m-%d %H:%M:%S+00:00",
    ],
)
def test_every_form_of_moments_is_understood(form):
    series = open_series(column(hours(30, form)))
    assert (series.start.replace(tzinfo=None) - datetime(2023, 11, 14, 22)).total_seconds() < 3600
    assert series.step_s == 3600
    assert series.names == ("v",)


@pytest.mark.parametrize(
    "header, numbers, step",
    [
        ("timestamp", [1700000000 + 60 * i for i in range(5)], 60),
        ("time_ms", [10 * i for i in range(5)], 0.01),
        ("Time (s)", [0.5 * i for i in range(5)], 0.5),
        ("ts", [1700000000000 + 5 * i for i in range(5)], 0.005),
        ("timestamp [ns]", [4000000.0 * i for i in range(5)], 0.004),
        ("t", [0, 1, 2, 3, 4], 1),
        ("date", [44197 + i for i in range(5)], 86400),
        ("date", [20210101 + i for i in range(5)], 86400),
    ],
)
def test_numbers_of_a_time_column_have_the_unit_that_header_or_size_says(header, numbers, step):
    assert open_series(column([str(n) for n in numbers], header)).step_s == pytest.approx(step)


def test_months_and_quarters_go_on_by_the_calendar():
    months = open_series(column([f"{y}-{m:02d}" for y in (2019, 2020) for m in range(1, 13)]))
    assert months.step_s is None
    assert months.ahead(2).astype("datetime64[D]").astype(str).tolist() == ["2021-01-01", "2021-02-01"]
    quarters = open_series(column(["1970 Q1", "1970 Q2", "1970 Q3", "1970 Q4"], "Quarter"))
    assert quarters.ahead(1).astype("datetime64[D]").astype(str).tolist() == ["1971-01-01"]
    assert open_series(PLAIN).ahead(1).astype("datetime64[D]").astype(str).tolist() == ["2021-03-21"]


def test_a_day_that_may_be_two_is_left_open_or_refused():
    minutes = open_series(column([f"03/04/2021 10:{m:02d}" for m in range(9)]))
    assert minutes.start is None
    assert minutes.step_s == 60
    assert "two ways" in minutes.notes[-1]
    with pytest.raises(InputError, match="'01/01/2021', which may be two different days; write times as yyyy-mm-dd"):
        open_series(column([f"{m:02d}/01/2021" for m in range(1, 8)]))


def test_an_empty_cell_is_missing_and_what_is_no_channel_is_noted():
    rows = ["Unnamed: 0,time,site,v,note", *(f"{i},{i},north,{'' if i == 2 else i},x{i}" for i in range(6))]
    series = open_series("\n".join(rows).encode())
    assert series.names == ("v",)
    assert series.values.isnan().flatten().tolist() == [False] * 2 + [True] + [False] * 3
    assert series.notes[:3] == (
        "left out: Unnamed: 0 (numbers of rows)",
        "left out: site (text)",
        "left out: note (text)",
    )


def test_rows_with_the_newest_first_are_turned_round():
    back = open_series("\n".join(["date,load,temp", *ROWS[::-1]]).encode())
    assert torch.equal(back.values, open_series(PLAIN).values)
    assert back.start == datetime(2021, 3, 1)
    assert "newest first" in back.notes[-1]


@pytest.mark.parametrize(
    "text", ["1 2\n3 4\n5 6\n", "1\t2\n3\t4\n5\t6", "# a comment\n1,2\n3,4\n5,6", "1;2\n3;4\n5;6\n"]
)
def test_numbers_without_a_header_are_columns(text):
    assert open_series(text.encode()).values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert open_series(gzip.compress(text.encode())).values.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_arrays_mappings_tables_and_their_files_are_the_same_series(tmp_path):
    values = np.arange(12.0).reshape(6, 2)
    moments = np.datetime64("2020-01-01", "us") + np.arange(6) * np.timedelta64(900, "s")
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", x=values)
    table = pa.table({"when": moments, "a": values[:, 0], "b": values[:, 1].astype(np.int32)})
    pq.write_table(table, tmp_path / "a.parquet")
    mapping = {"when": moments, "a": values[:, 0], "b": list(values[:, 1])}
    sources = [
        values,
        torch.tensor(values),
        tmp_path / "a.npy",
        tmp_path / "a.npz",
        table,
        tmp_path / "a.parquet",
        mapping,
    ]
    found = [open_series(source) for source in sources]
    assert all(torch.equal(series.values, torch.tensor(values)) for series in found)
    assert [series.step_s for series in found] == [None] * 4 + [900.0] * 3
    assert all(series.start == datetime(2020, 1, 1) and series.names == ("a", "b") for series in found[4:])
    assert open_series(values[:, 0]).values.shape == (6, 1)


def test_the_record_gives_the_units_back_and_goes_through_json():
    series = open_series({"time": [0.0, 1.0, 5.0, 6.0], "v": [1.0, 2.0, 3.0, 6.0]})
    record = series.record([3.0], [2.0], first=1, units=("m",))
    assert record.restore(record.standardise(series.values)).tolist() == series.values.tolist()
    assert (record.taken, record.rows, record.times_s, record.units) == ((1, 4), 4, (1.0, 5.0, 6.0), ("m",))
    assert SeriesRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_window_starts_at_its_own_moment():
    part = open_series(PLAIN).window(3, 7)
    assert isinstance(part, Series)
    assert part.start == datetime(2021, 3, 4)
    assert part.values[:, 0].tolist() == [4, 5, 6, 7]
    assert part.times_s is not None
    assert part.times_s[0] == 0


def parquet_of_lists() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [[1], [2]]}), out)
    return out.getvalue()


def workbook() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>")
    return out.getvalue()


@pytest.mark.parametrize(
    "source, message",
    [
        (b"", r"is empty \(0 bytes\)"),
        (b",,\n,,\n", "is empty"),
        (b'""\n', "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"time,v\n", "has a header and no rows"),
        (b"time,v\n0,1\n", "has 1 row; a series has at least 2"),
        (b"time,v\n0,1\n1,2,3\n", "ragged: line 3 has 3 fields"),
        (b"time,v\n0,1\n0,2\n1,3", "the time in row 2 is the same as that of row 1"),
        (b"time,v\n0,1\n2,2\n1,3", "the time in row 3 is before that of row 2"),
        (b"date,v\n2021-01-01,1\n2021-01-02,2\n2021-13-03,3\n2021-01-04,4\n2021-01-05,5", "'2021-13-03' in row 3"),
        (b"time,v\n0,1\n,2\n2,3", "'time' has no time in row 2"),
        (b"time,v\n0,1\n1,2\n1e50,3", "spans 1e[+]50 x 1e-09 s, which is no time"),
        (b"a,b\n1,2\n1,x\n3,4\n5,6", "column 'b' has 'x' in row 2, which is no number"),
        (b"a,b\n1,2\n1,inf\n3,4", "column 'b' is infinite in row 2"),
        (b"a\nNaN\nNaN\nNaN", "'a' has no value"),
        (b"name,kind\nx,y\nz,w\n", "has no column of numbers"),
        (b"PAR1garbage", "is a damaged Parquet file"),
        (parquet_of_lists(), "has no column of numbers"),
        (b"\x93NUMPY\x01", "is a damaged NumPy file"),
        (b"PK\x03\x04broken", "is a damaged NumPy file"),
        (workbook(), "is a spreadsheet's own file; save the sheet as CSV"),
        (b"\x1f\x8bbroken", "is a damaged gzip file"),
        (b"\x00\x01\x02\x03" * 50, "is no text"),
        (np.zeros((2, 3, 4)), r"has the shape \(2, 3, 4\)"),
        (np.array(["a", "b"]), "is an array of <U1"),
        (np.array([[1.0, np.nan], [2.0, np.nan]]), "'column 2' has no value"),
        ({"a": [1, 2], "b": [1, 2, 3]}, "different lengths: a 2, b 3"),
        (42, "cannot be read as a series"),
    ],
)
def test_what_is_no_series_is_refused_with_its_reason(source, message):
    with pytest.raises(InputError, match=message):
        open_series(source)


def test_a_missing_file_a_folder_and_an_unknown_column_are_named(tmp_path):
    with pytest.raises(InputError, match="gone.csv: does not exist"):
        open_series(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="is a directory"):
        open_series(tmp_path)
    with pytest.raises(InputError, match="has no column 'x'; it has 'date', 'load', 'temp'"):
        open_series(PLAIN, columns=["x"])
    assert open_series(PLAIN, columns=["temp", "load"]).names == ("temp", "load")


def test_no_cut_of_a_file_crashes(tmp_path):
    out = io.BytesIO()
    pq.write_table(pa.table({"t": [1, 2, 3], "v": [1.0, 2.0, 3.0]}), out)
    np.savez(tmp_path / "a.npz", x=np.arange(6.0))
    for whole in (out.getvalue(), (tmp_path / "a.npz").read_bytes(), gzip.compress(PLAIN), PLAIN):
        for end in range(0, len(whole), 37):
            with contextlib.suppress(InputError):
                open_series(whole[:end])


def test_real_series_are_read(shared_data):
    with zipfile.ZipFile(shared_data / "ett" / "ett_original_csv.zip") as packed:
        series = open_series(packed.read("ETTh1.csv"))
    assert series.values.shape == (17420, 7)
    assert series.step_s == 3600
    assert series.names[-1] == "OT"
    assert open_series(shared_data / "exchange_rate" / "exchange_rate.txt.gz").values.shape == (7588, 8)
    with zipfile.ZipFile(shared_data / "ucr_uea_pieces" / "ucr_uea_ts.zip") as packed:
        found = {n: open_series(packed.read(n)) for n in packed.namelist() if n.endswith(".csv")}
    assert found["Airline/Airline.csv"].ahead(1).astype("datetime64[M]").astype(str).tolist() == ["1961-01"]
    assert found["solar/solar.csv"].step_s == 1800
    assert len(found) == 8
