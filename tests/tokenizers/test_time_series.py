"""The tokenizer ``time_series`` against the equation, its limits, its way back, and real files."""

import zipfile

import numpy as np
import pytest
import torch

from unimodal.catalog import catalog
from unimodal.errors import InputError
from unimodal.testing import check_tokenizer

TimeSeries = catalog("tokenizers")["time_series"]


def tokens_of(tokenizer, *sources):
    with torch.inference_mode():
        return tokenizer(tokenizer.collate([tokenizer.read(source) for source in sources]))


@pytest.mark.parametrize("settings", [{}, {"channel_independent": False, "patch": 5, "stride": 2}, {"marked": False}])
def test_it_keeps_the_contract(settings):
    held = check_tokenizer("time_series", TimeSeries, **settings)
    assert len(held) == 8


@pytest.mark.parametrize("steps", [2, 9, 16, 17, 24, 31, 96, 101])
def test_tokens_are_the_papers_equation(steps):
    tokenizer = TimeSeries(12, patch=16, stride=8).double()
    values = np.random.default_rng(0).normal(3, 5, (steps, 2))
    tokens = tokens_of(tokenizer, values)
    patches = max((steps - 16) // 8 + 2, 1) if steps >= 8 else 1
    assert tokens.side.grid == (2, patches)
    for c in range(2):
        mean, std = values[:, c].mean(), values[:, c].std()
        scaled = [*((values[:, c] - mean) / std), *[(values[-1, c] - mean) / std] * 16]
        for t in range(patches):
            patch = torch.tensor(scaled[8 * t : 8 * t + 16])
            expected = tokenizer.project.weight @ patch + tokenizer.project.bias
            torch.testing.assert_close(tokens.x[0, c * patches + t], expected, rtol=0, atol=1e-5)


def test_the_number_of_patches_is_the_papers():
    # Look-back 336, P = 16, S = 8: 42 patches; look-back 512: 64 (Nie et al., sec. 4: PatchTST/42 and PatchTST/64).
    for lookback, patches in ((336, 42), (512, 64)):
        assert TimeSeries(8).read(np.arange(lookback)).cost == patches


def test_a_missing_value_is_the_line_between_its_neighbours_plus_the_mark():
    tokenizer = TimeSeries(12, patch=4, stride=4, scaler="none").double()
    holes = np.array([1.0, np.nan, np.nan, 4, 5, 6, 7, 8])
    x, whole = tokens_of(tokenizer, holes).x[0], tokens_of(tokenizer, np.arange(1.0, 9)).x[0]
    torch.testing.assert_close(x - whole, torch.stack([tokenizer.missing / 2, *2 * [0 * tokenizer.missing]]))


def test_level_and_unit_of_a_series_do_not_matter():
    tokenizer = TimeSeries(8)
    values = np.random.default_rng(1).normal(size=(50, 3))
    a, b = (tokens_of(tokenizer, v).x for v in (values, 1e4 + 1e-3 * values))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_a_constant_channel_is_zero_and_comes_back():
    tokenizer = TimeSeries(32)
    sample = tokenizer.read(np.full((20, 1), 0.1))
    assert not sample.data.any()
    assert sample.record.restore(sample.data.mT).tolist() == [[pytest.approx(0.1)]] * 20


@pytest.mark.parametrize("settings", [{}, {"scaler": "mean"}, {"scaler": "none"}, {"channel_independent": True}])
def test_tokens_become_the_series_in_its_own_units(settings):
    tokenizer = TimeSeries(64, **settings)
    values = 1000 + 7 * np.random.default_rng(2).normal(size=(75, 3)).cumsum(0)
    sample = tokenizer.read(values)
    data = tokenizer.detokenize(tokenizer(tokenizer.collate([sample]))).data
    data = data[:, 0] if settings.get("channel_independent") else data[0]
    np.testing.assert_allclose(sample.record.restore(data.mT)[:75].numpy(), values, rtol=1e-4)


def test_a_narrow_projection_has_no_way_back():
    tokenizer = TimeSeries(16)
    with pytest.raises(ValueError, match="needs a width of at least 17"):
        tokenizer.detokenize(tokens_of(tokenizer, np.arange(30.0)))


def test_long_series_are_read_from_their_end_and_the_record_says_so():
    sample = TimeSeries(8).read(np.random.default_rng(3).normal(size=(5000, 7)))
    first, behind = sample.record.taken
    assert (behind, sample.record.rows) == (5000, 5000)
    assert sample.cost <= 512 < sample.cost + 7
    assert sample.data.shape == (7, behind - first)
    assert TimeSeries(8, steps=96).read(np.arange(200.0)).record.taken == (104, 200)


def test_uneven_times_are_positions_and_even_ones_are_the_lattice():
    tokenizer = TimeSeries(8, patch=4, stride=2)
    time = np.arange(12.0) ** 1.5
    even, uneven = {"time": np.arange(12.0), "a": np.sin(time)}, {"time": time, "a": np.sin(time)}
    assert tokens_of(tokenizer, even).side.positions is None
    places = tokens_of(tokenizer, even, uneven).side.positions
    steps = places.shape[1]
    torch.testing.assert_close(places[0], torch.stack([torch.zeros(steps), torch.arange(steps).float()], -1))
    unit = np.median(np.diff(time)) * 2
    assert places[1, 1, 1] == pytest.approx((time[2:6].mean() - time[0:4].mean()) / unit, rel=1e-5)
    independent = TimeSeries(8, patch=4, stride=2, channel_independent=True)
    both = {**uneven, "b": np.cos(time)}
    assert tokens_of(independent, both).side.positions.shape == (2, steps, 1)
    mixed = tokens_of(independent, both, np.arange(30.0))
    assert mixed.side.positions.shape == (*mixed.x.shape[:2], 1)
    assert mixed.sequences == 3


def test_independent_channels_are_sequences_with_the_same_tokens():
    together, alone = TimeSeries(8), TimeSeries(8, channel_independent=True)
    alone.load_state_dict(together.state_dict())
    values = [np.random.default_rng(k).normal(size=(40 + 8 * k, 2 + k)) for k in range(2)]
    rows, channels = tokens_of(together, *values), tokens_of(alone, *values)
    assert channels.sequences == 5
    assert set(channels.side.grids) == {(5,), (6,)}
    torch.testing.assert_close(torch.cat(rows.split()), torch.cat(channels.split()))
    assert tokens_of(alone, values[0], values[0] * 2).side.grid == (5,)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"stride": 17}, "stride must be in 1..patch"),
        ({"limit": 0}, "limit must be positive"),
        ({"steps": 8, "padded": False}, "steps hold a patch"),
        ({"scaler": "max"}, "scaler must be"),
        ({"gaps": "mean"}, "gaps must be"),
        ({"eps": -1.0}, "eps must not be negative"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TimeSeries(8, **settings)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        TimeSeries(8).collate([])


@pytest.mark.parametrize(
    "source, message",
    [
        (b"", "is empty"),
        (b"v\n1\n", "1 row"),
        (b"time,v\n0,1\n0,2\n", "the same as"),
        (b"t,v\n0,1,2\n0,2\n", "ragged"),
        (b"a,b\n1,nan\n2,nan\n", None),
        (b"a\nnan\nnan\n", "has no value"),
        (b"PAR1", "damaged Parquet"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)), "no text"),
        (np.array([[1e200], [2.0]]), "beyond 1e100"),
        (np.zeros((4, 600)), "600 channels; 512 tokens"),
        (np.r_[np.ones(500), np.full(5000, np.nan)], "has no value in the last"),
    ],
)
def test_bad_sources_are_named(source, message):
    if message is None:  # an empty column beside another one is left out, and the record says so
        assert TimeSeries(8).read(source).record.notes == ("left out: b (empty)",)
        return
    with pytest.raises(InputError, match=message):
        TimeSeries(8).read(source)


def test_too_short_a_series_for_a_fixed_context_is_refused():
    with pytest.raises(InputError, match="has 50 steps; 96 are needed"):
        TimeSeries(8, steps=96).read(np.arange(50.0))


@pytest.mark.parametrize(
    "name, content, claim",
    [
        ("a.csv", b"date,v\n2020-01-01,1\n2020-01-02,2\n", 0.7),
        ("a.csv", b"x,y\n1,2\n3,4\n", 0.2),
        ("a.csv", b"date,kind,v\n2020-01-01,p,1\n2020-01-02,q,2\n", 0.2),
        ("a.txt", b"1.5,2\n3,4\n", 0.55),
        ("a.txt", b"Once upon a time, there was a hen.\nIt had no teeth.\n", 0.2),
        ("a.csv", b"\x00\x01\x02", 0.2),
        ("a.npy", b"", 0.2),
    ],
)
def test_claims(tmp_path, name, content, claim):
    (tmp_path / name).write_bytes(content)
    assert TimeSeries.claims(tmp_path / name) == claim


def test_a_long_file_is_claimed_by_its_beginning(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,v\n" + "\n".join(f"{i},{i % 7}.5" for i in range(20_000)))
    assert TimeSeries.claims(path) == 0.7


def test_real_series_become_tokens(shared_data, tmp_path):
    tokenizer = TimeSeries(128)
    with zipfile.ZipFile(shared_data / "ett" / "ett_original_csv.zip") as packed:
        packed.extract("ETTh1.csv", tmp_path)
    sample = tokenizer.read(tmp_path / "ETTh1.csv")
    assert sample.record.names[-1] == "OT"
    assert sample.cost == 7 * 73
    data = tokenizer.detokenize(tokens_of(tokenizer, tmp_path / "ETTh1.csv")).data[0]
    first = sample.record.taken[0]
    given = np.loadtxt(tmp_path / "ETTh1.csv", delimiter=",", skiprows=first + 1, usecols=range(1, 8))
    np.testing.assert_allclose(sample.record.restore(data.mT)[: len(given)].numpy(), given, atol=2e-4)
    exchange = tokenizer.read(shared_data / "exchange_rate" / "exchange_rate.txt.gz")
    assert exchange.data.shape[0] == 8
    assert exchange.cost == 512
