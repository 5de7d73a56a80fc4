"""The tokenizer ``hyperspectral``: its equation, every form of a cube, what is taken, and the way back."""

import numpy as np
import pytest
import torch

from unimodal.part import Part
from unimodal.stems.tubelet import TubeletStem
from unimodal.testing import check_tokenizer
from unimodal.tokenizer_checks import CHECKS
from unimodal.tokenizers.hyperspectral import Hyperspectral

SMALL = Part(TubeletStem, patch=(4, 2, 2), channels=1)


def scene(rows=6, columns=5, bands=24, dtype="f4"):
    y, x, b = np.mgrid[:rows, :columns, :bands]
    return (1000 + 300 * np.sin(0.3 * b + 0.4 * y) + 40 * x).astype(dtype)


def returned(tokenizer, source) -> torch.Tensor:
    """The cube through tokens and back."""
    batch = tokenizer.collate([tokenizer.read(source)])
    return batch.records[0].restore(tokenizer.detokenize(tokenizer(batch)).data[0])


def test_every_contract_of_tokenizers_holds():
    assert len(check_tokenizer("hyperspectral", Hyperspectral)) == len(CHECKS)


def test_a_token_is_a_linear_map_of_its_patch_and_group():
    tokenizer, cube = Hyperspectral(6, stem=SMALL).double(), scene(4, 6, 8, "f8")
    tokens = tokenizer(tokenizer.collate([tokenizer.read(cube)]))
    assert tokens.side.grid == (2, 2, 3)
    scaled = (cube - cube.mean()) / cube.std()
    weight, bias = tokenizer.stem.project.weight.detach(), tokenizer.stem.project.bias.detach()
    for n, (g, r, c) in enumerate((g, r, c) for g in range(2) for r in range(2) for c in range(3)):
        for d in range(6):
            total = bias[d].clone()
            for b in range(4):
                for y in range(2):
                    for x in range(2):
                        total += weight[d, 0, b, y, x] * scaled[2 * r + y, 2 * c + x, 4 * g + b]
            torch.testing.assert_close(tokens.x[0, n, d].detach(), total, rtol=0, atol=1e-6)  # data are float32


@pytest.mark.parametrize("scale", ["cube", "band", (1000.0, 250.0)])
@pytest.mark.parametrize("shape", [(6, 5, 24), (1, 1, 1), (7, 4, 13), (3, 3, 8)])
def test_the_cube_comes_back_in_its_own_numbers(scale, shape):
    cube = scene(*shape)
    back = returned(Hyperspectral(128, scale=scale), cube)
    np.testing.assert_allclose(back, cube, rtol=1e-5)


def test_positions_are_set_only_where_all_cubes_have_wavelengths():
    tokenizer, known = Hyperspectral(8), {"cube": scene(), "wavelengths": np.arange(24)}
    mixed = tokenizer(tokenizer.collate([tokenizer.read(known), tokenizer.read(scene())]))
    assert mixed.side.positions is None
    smaller = {"cube": scene(3, 3, 16), "wavelengths": np.arange(16)}
    packed = tokenizer(tokenizer.collate([tokenizer.read(known), tokenizer.read(smaller)]))
    assert packed.side.positions.shape == (1, packed.x.shape[1], 1)
    assert packed.side.positions[0, -2:, 0].tolist() == [3.5, 11.5]


def test_nan_and_infinite_values_are_missing_and_constant_bands_do_no_harm():
    cube = scene()
    cube[1, 1, 1], cube[1, 1, 2], cube[..., 5] = np.nan, np.inf, 7.0
    cube.view("u4")[2, 2, 2] = 0x7F800001  # a NaN that signals
    for scale in ("cube", "band"):
        back = returned(Hyperspectral(128, scale=scale), cube)
        np.testing.assert_allclose(back, np.where(np.isfinite(cube), cube, np.nan), rtol=1e-4)
    assert torch.equal(Hyperspectral(8).read(np.full((3, 3, 9), 5)).data, torch.zeros(1, 16, 3, 3))


def test_what_was_taken_of_a_large_cube_stands_in_the_record():
    cube = scene(100, 80, 64)
    spread = Hyperspectral(128)
    record = spread.read(cube).record
    assert record.cell == (8, 3, 3)
    assert 300 < np.prod(record.grid) <= 512
    assert record.rows[2] == record.columns[2] > 1
    assert not record.whole
    np.testing.assert_allclose(returned(spread, cube), cube[slice(*record.rows), slice(*record.columns)], rtol=1e-5)
    centre = Hyperspectral(128, fit="centre")
    record = centre.read(cube).record
    assert record.rows[2] == record.columns[2] == 1
    assert 450 < np.prod(record.grid) <= 512
    assert abs(sum(record.rows[:2]) - 100) <= 1
    np.testing.assert_allclose(returned(centre, cube), cube[slice(*record.rows), slice(*record.columns)], rtol=1e-5)
    whole = Hyperspectral(8, fit="native").read(cube)
    assert whole.record.whole
    assert whole.cost == 8 * 34 * 27


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4000, 3), (500, 2, 100), (64, 64, 200), (3, 3, 4000), (512, 614, 5)])
def test_the_default_never_gives_more_than_512_tokens(shape):
    cube = np.broadcast_to(np.arange(shape[2], dtype=np.float32), shape)
    for fit in ("spread", "centre"):
        assert 1 <= Hyperspectral(8, fit=fit).read(cube).cost <= 512


def test_a_pixel_outside_of_a_cell_has_no_influence_on_its_token_when_the_scale_is_fixed():
    tokenizer, cube = Hyperspectral(8, stem=SMALL, scale=(1000.0, 300.0)), scene(4, 4, 8)
    changed = cube.copy()
    changed[3, 3, 7] += 50
    x, y = (tokenizer(tokenizer.collate([tokenizer.read(c)])).x[0] for c in (cube, changed))
    assert torch.equal(x[:7], y[:7])
    assert not torch.equal(x[7], y[7])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"fit": "zoom"}, "fit must be one of spread, centre, native"),
        ({"bands": "second"}, "bands of last, first, middle"),
        ({"most": 0}, "most must be positive"),
        ({"scale": "pixel"}, "scale must be"),
        ({"scale": (1.0, 0.0)}, "scale must be"),
        ({"stem": Part(TubeletStem)}, "stem must take 1 channel"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Hyperspectral(8, **settings)


def test_there_is_no_way_back_below_the_values_of_a_cell():
    tokenizer = Hyperspectral(64)
    with pytest.raises(ValueError, match="not invertible"):
        returned(tokenizer, scene())


def test_a_batch_has_at_least_one_cube():
    with pytest.raises(ValueError, match="samples is empty"):
        Hyperspectral(8).collate([])


def test_claims_look_at_headers(tmp_path):
    np.save(tmp_path / "cube.npy", scene())
    np.save(tmp_path / "points.npy", np.zeros((100, 3)))
    np.save(tmp_path / "clip.npy", np.zeros((9, 9, 3)))
    np.savez(tmp_path / "cube.npz", cube=scene(), mask=np.zeros((6, 5)))
    (tmp_path / "analyze.hdr").write_bytes(b"\x5c\1\0\0" + bytes(344))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    claims = {path.name: Hyperspectral.claims(path) for path in tmp_path.iterdir()}
    assert claims["cube.npy"] == claims["cube.npz"] == 0.7
    assert max(claims[name] for name in claims if not name.startswith("cube")) <= 0.1
    assert Hyperspectral.claims(tmp_path / "missing.npy") <= 0.1


@pytest.mark.parametrize("name", ["hydice_urban", "sandiego_airport"])
def test_real_cubes_come_back_as_they_were(shared_data, name):
    file = shared_data / "hyperspectral_anomaly" / f"{name}.npz"
    assert Hyperspectral.claims(file) == 0.7
    tokenizer, cube = Hyperspectral(128), np.load(file)["cube"].astype(float)
    record = tokenizer.read(file).record
    part = cube[slice(*record.rows), slice(*record.columns)]
    assert np.abs(returned(tokenizer, file).numpy() - part).max() < 1e-5 * part.max()
