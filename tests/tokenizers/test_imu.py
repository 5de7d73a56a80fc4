"""The tokenizer ``imu`` against its equation, units, rates, its way back, and real recordings."""

import zipfile

import numpy as np
import pytest
import torch

from unimodal.catalog import catalog
from unimodal.errors import InputError
from unimodal.testing import check_tokenizer

IMU = catalog("tokenizers")["imu"]
NOISE = np.random.default_rng(0)


def recording(steps=120, rate=50.0, unit=1.0, header="acc_{}"):
    return {"time": np.arange(steps) / rate} | {
        header.format(a): unit * (9.80665 * np.cos(np.arange(steps) / rate + k)) for k, a in enumerate("xyz")
    }


def tokens_of(tokenizer, *sources):
    with torch.inference_mode():
        return tokenizer(tokenizer.collate([tokenizer.read(source) for source in sources]))


def test_it_keeps_the_contract():
    assert len(check_tokenizer("imu", IMU)) == 8
    assert len(check_tokenizer("imu", IMU, patch=1, rate_hz=25.0)) == 8


@pytest.mark.parametrize("patch", [1, 4, 7])
def test_tokens_are_the_equation_on_a_circle(patch):
    tokenizer = IMU(6, patch=patch).double()
    values = NOISE.normal(size=(30, 6))
    x = tokens_of(tokenizer, values).x[0]
    cells = -(-30 // patch)
    whole = np.concatenate([values, np.repeat(values[-1:], cells * patch - 30, 0)])
    units = (9.80665 if np.median(np.linalg.norm(values[:, :3], axis=1)) > 2.5 else 1.0, 1.0)
    for s in range(2):
        for t in range(cells):
            total = tokenizer.kind.weight[s].clone()
            for tap in range(3):
                stretch = ((t + tap - 1) % cells) * patch
                v = whole[stretch : stretch + patch, 3 * s : 3 * s + 3] / units[s]
                total += tokenizer.project.weight[:, :, tap] @ torch.tensor(v.T.reshape(-1))
            torch.testing.assert_close(x[s * cells + t], total, rtol=0, atol=1e-5)


def test_a_circular_shift_commutes_with_the_value_convolution():
    tokenizer = IMU(16, patch=5)
    sample = tokenizer.read(recording(100))
    batch = tokenizer.collate([sample])
    x = tokenizer(batch).x
    batch.data.copy_(batch.data.roll(15, -1))
    torch.testing.assert_close(tokenizer(batch).x, x.roll(3, 1))


def test_the_same_motion_in_other_units_gives_the_same_tokens():
    tokenizer = IMU(8)
    motion = [
        recording(),
        recording(unit=1 / 9.80665, header="Acceleration {} (g)"),
        recording(unit=1e3 / 9.80665, header="acc{}_mg"),
        recording(unit=1 / 9.80665, header="a{}"),  # told by its size
    ]
    x = [tokens_of(tokenizer, source).x for source in motion]
    assert all(torch.allclose(x[0], other, atol=1e-5) for other in x[1:])
    told = IMU(8, units={"gyroscope": "deg/s"}).read({f"gyro_{a}": NOISE.normal(size=50) for a in "xyz"})
    assert told.record.units == ("deg/s",) * 3


def test_any_number_of_axes_is_read_by_the_same_weights():
    tokenizer = IMU(8)
    tokens = tokens_of(tokenizer, *(NOISE.normal(size=(50, axes)) for axes in (3, 6, 9)))
    assert tokens.side.grids == ((1, 5), (2, 5), (3, 5))
    sample = tokenizer.read(NOISE.normal(size=(50, 9)))
    assert sample.data[1].tolist() == [0, 1, 2]
    assert "taken for accelerometer, gyroscope, magnetometer" in sample.record.notes[0]


def test_kinds_differ_by_their_vector_alone():
    tokenizer = IMU(8)
    values = NOISE.normal(size=(50, 3))
    names = ("acc_{} (g)", "gyro_{} (rad/s)")
    a, g = (tokens_of(tokenizer, {n.format(x): values[:, k] for k, x in enumerate("xyz")}).x for n in names)
    torch.testing.assert_close(a - g, (tokenizer.kind.weight[0] - tokenizer.kind.weight[1]).expand_as(a))


def test_an_uneven_recording_is_brought_to_the_rate():
    time = np.cumsum(NOISE.uniform(0.01, 0.03, 200))
    uneven = {"time": time, **{f"a{a}": 9.8 * np.sin(time + k) for k, a in enumerate("xyz")}}
    sample = IMU(8, rate_hz=100.0).read(uneven)
    at = time[0] + np.arange(sample.data[0].shape[-1]) / 100
    for k in range(3):
        np.testing.assert_allclose(9.80665 * sample.data[0][0, k], 9.8 * np.sin(at + k), atol=5e-3)
    assert sample.record.step_s == 0.01
    assert sample.record.notes[-2].startswith("brought from uneven ")


def test_times_in_milliseconds_without_a_unit_are_noticed():
    ticks = {"timestamp": np.arange(0, 1000, 20), **{f"a{a}": np.ones(50) for a in "xyz"}}
    sample = IMU(8).read(ticks)
    assert sample.data[0].shape[-1] == 50
    assert "taken as milliseconds" in " ".join(sample.record.notes)


def test_tokens_become_the_recording_in_its_own_units():
    tokenizer = IMU(128)
    source = {f"gyro_{a} (deg/s)": 100 * NOISE.normal(size=83) for a in "xyz"}
    source |= {f"acc_{a} (g)": NOISE.normal(size=83) for a in "xyz"}
    sample = tokenizer.read(source)
    back = tokenizer.detokenize(tokenizer(tokenizer.collate([sample])))
    found = sample.record.restore(back.data[0].flatten(0, 1).mT)[:83]
    given = np.stack([source[name] for name in sample.record.names], 1)
    np.testing.assert_allclose(found.numpy(), given, atol=2e-2)
    assert back.extra["kinds"].tolist() == [[1] * 9 + [0] * 9]


def test_a_narrow_projection_has_no_way_back():
    tokenizer = IMU(90)
    with pytest.raises(ValueError, match="needs a width of at least 93"):
        tokenizer.detokenize(tokens_of(tokenizer, NOISE.normal(size=(50, 3))))


def test_of_a_long_recording_the_last_part_is_read_and_the_record_says_so():
    sample = IMU(8).read(NOISE.normal(size=(10_000, 6)))
    assert sample.cost == 512
    assert sample.record.taken == (7440, 10_000)


@pytest.mark.parametrize(
    "settings", [{"rate_hz": 0}, {"patch": 0}, {"limit": -1}, {"source_rate_hz": -5.0}, {"units": {"gyroscope": "g"}}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"must be positive|units has 'gyroscope': 'g'"):
        IMU(8, **settings)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        IMU(8).collate([])


@pytest.mark.parametrize(
    "source, message",
    [
        (b"", "is empty"),
        (b"ax,ay,az\n", "has a header and no rows"),
        (b"ax,ay,az\n1,2,3\n", "1 row"),
        (b"ax,ay\n1,2\n3,4\n", "has no three axes of one sensor among its columns ax, ay"),
        (b"ax,ay,az\n1,2,3\n1,2\n", "ragged"),
        (b"ax,ay,az\n1,2,3\n1,2,inf\n", "'az' is infinite in row 2"),
        (b"ax,ay,az\n1,2,3\n1,2,3\n1,oops,3\n1,2,3", "'ay' has 'oops' in row 3"),
        (b"time,ax,ay,az\n0,1,2,3\n0,1,2,3\n", "the time in row 2 is the same"),
        (b"time,ax,ay,az\n0,1,2,3\n0.001,1,2,3\n", "less than two steps of 50.0 Hz"),
        (b"\x00\x01\x02\x03" * 30, "is no text"),
        (b"PAR1....", "damaged Parquet"),
        (np.zeros((10, 4)), "give 3, 6 or 9 columns"),
        ("gone.csv", "does not exist"),
    ],
)
def test_bad_sources_are_named(source, message):
    with pytest.raises(InputError, match=message):
        IMU(8).read(source)


def test_too_many_sensors_are_refused():
    with pytest.raises(InputError, match="has 3 sensors; 2 tokens are allowed"):
        IMU(8, limit=2).read(NOISE.normal(size=(50, 9)))


@pytest.mark.parametrize(
    "content, claim",
    [
        ("time,ax,ay,az\n0,1,2,3\n1,1,2,3\n", 0.9),
        (
            "Time (s);Acceleration x;Acceleration y;Acceleration z\n0;1,5;2;3\n1;1,5;2;3\n",
            0.9,
        ),
        ("gyro_x,gyro_y,gyro_z\n0,1,2\n0,1,2\n", 0.9),
        ("x,y,z\n0,1,2\n0,1,2\n", 0.3),
        ("date,load\n2020-01-01,1\n2020-01-02,2\n", 0.05),
        ("", 0.0),
    ],
)
def test_claims(tmp_path, content, claim):
    (tmp_path / "a.csv").write_text(content)
    assert IMU.claims(tmp_path / "a.csv") == claim


def test_real_watch_recordings_become_tokens_and_come_back(shared_data):
    with zipfile.ZipFile(shared_data / "ucr_uea_pieces" / "ucr_uea_ts.zip") as packed:
        lines = packed.read("BasicMotions/BasicMotions_TEST.ts").decode().split("@data\n")[1].strip().splitlines()
    cases = [np.array([c.split(",") for c in line.split(":")[:-1]], float).T for line in lines]
    tokenizer = IMU(128, source_rate_hz=10.0, rate_hz=10.0)
    samples = [tokenizer.read(case) for case in cases]
    assert {sample.cost for sample in samples} == {20}
    assert {sample.data[0].shape for sample in samples} == {(2, 3, 100)}
    back = tokenizer.detokenize(tokenizer(tokenizer.collate(samples))).data
    for case, sample, values in zip(cases, samples, back, strict=True):
        found = sample.record.restore(values.flatten(0, 1).mT).numpy()
        np.testing.assert_allclose(found, case, atol=1e-3 * np.abs(case).max())
