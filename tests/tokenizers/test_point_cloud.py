"""The tokenizer ``point_cloud``: which points it takes, its groups, what must not matter, and what it refuses."""

import copy
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.sincos import SinCos
from unimodal.recipes.pre_norm import pre_norm
from unimodal.testing import check_tokenizer
from unimodal.tokenizers.point_cloud import PointCloud

RANDOM = np.random.default_rng(0)


def cloud(count, *, colours=False):
    xyz = RANDOM.standard_normal((count, 3)) * [3.0, 2.0, 1.0] + [10.0, -20.0, 5.0]
    return np.concatenate([xyz, RANDOM.random((count, 3))], -1) if colours else xyz


def encoded(tokenizer, *sources):
    with torch.inference_mode():
        return tokenizer(tokenizer.collate([tokenizer.read(source) for source in sources]))


@pytest.fixture
def tokenizer():
    return PointCloud(24, points=128, groups=16, neighbours=8).eval()


@pytest.mark.parametrize("settings", [{}, {"coloured": True, "sampling": "random"}])
def test_it_keeps_the_contract_of_tokenizers(settings):
    held = check_tokenizer("point_cloud", PointCloud, **settings)
    assert held == ["encode", "mixed", "influence", "packed", "saved", "gradient", "export"]


def test_tokens_are_the_encodings_of_each_centre_and_its_nearest_points(tokenizer):
    """In loops over the groups of the points as they were read."""
    sample = tokenizer.read(cloud(500))
    points = sample.data.double()
    chosen = [0]
    while len(chosen) < 128:  # the definition of farthest-point sampling
        near = torch.stack([(points - points[c]).square().sum(-1) for c in chosen]).min(0).values
        chosen.append(int(near.argmax()))
    assert chosen == list(range(128))
    exact = copy.deepcopy(tokenizer).double()
    tokens = exact(exact.collate([sample]))
    assert (tokens.side.grid, tuple(tokens.side.positions.shape), sample.cost) == ((16,), (1, 16, 3), 16)
    for g in range(16):
        assert torch.equal(tokens.side.positions[0, g], sample.data[g])
        by_distance = sorted(range(128), key=lambda n: float((points[n] - points[g]).norm()))
        group = points[by_distance[:8]] - points[g]
        torch.testing.assert_close(tokens.x[0, g], exact.encoder(group[None, None])[0, 0], rtol=0, atol=1e-6)


def test_points_fill_the_unit_sphere_and_the_record_puts_them_back(tokenizer):
    source = cloud(500)
    sample = tokenizer.read(source)
    assert abs(sample.data.mean(0)).max() < 1e-6
    assert abs(sample.data.norm(dim=-1).max() - 1) < 1e-6
    back = tokenizer.restore(sample.data, sample.record)
    gaps = torch.cdist(back, torch.from_numpy(source)).min(-1).values
    assert gaps.max() < 1e-6
    torch.testing.assert_close(sample.record.to_model(back), sample.data.double())
    assert (sample.record.points, sample.record.of) == (128, 500)
    assert json.loads(json.dumps(sample.record.to_json()))["sampling"] == "128 by farthest points"


def test_map_coordinates_keep_their_millimetres(tokenizer):
    near = np.round(0.05 * cloud(100), 3)
    away = np.array([691_000.0, 5_334_000.0, 500.0])
    sample = tokenizer.read(near + away)
    back = sample.record.restore(sample.data) - torch.from_numpy(away)
    assert torch.cdist(back, torch.from_numpy(near)).min(-1).values.max() < 1e-6


@pytest.mark.parametrize("sampling", ["farthest", "random"])
@pytest.mark.parametrize("count", [90, 500, 5000])
def test_the_order_of_the_points_in_a_file_does_not_matter(sampling, count):
    tokenizer, source = PointCloud(24, points=128, groups=16, sampling=sampling), cloud(count)
    first, shuffled = (tokenizer.read(array) for array in (source, RANDOM.permutation(source)))
    assert torch.equal(first.data, shuffled.data)
    assert first.record == shuffled.record


def test_equally_far_points_are_chosen_alike_in_any_order():
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), -1).reshape(-1, 3)
    tokenizer = PointCloud(24, points=50)
    reads = [tokenizer.read(RANDOM.permutation(grid)).data for _ in range(4)]
    assert all(torch.equal(reads[0], read) for read in reads)


def test_repeated_points_count_once(tokenizer):
    source = cloud(300)
    once, twice = tokenizer.read(source), tokenizer.read(np.concatenate([source, source[:77]]))
    assert torch.equal(once.data, twice.data)
    assert (once.record.repeated, twice.record.repeated) == (0, 77)


def test_a_big_cloud_is_thinned_and_the_record_says_so(tokenizer):
    record = tokenizer.read(cloud(3000)).record
    kept = int(record.sampling.split()[0])
    assert record.sampling == f"{kept} of 3000 by voxels, then 128 by farthest points"
    assert 256 <= kept < 2048
    assert record.of == 3000


def test_fewer_points_than_wanted_are_all_taken(tokenizer):
    sample = tokenizer.read(cloud(40))
    assert (tuple(sample.data.shape), sample.cost, sample.record.points) == ((40, 3), 16, 40)
    few = tokenizer.read(cloud(5))
    tokens = encoded(tokenizer, cloud(5))
    assert (few.cost, tokens.x.shape[1], bool(tokens.x.isfinite().all())) == (5, 5, True)


def test_a_mesh_is_sampled_on_its_surface(tokenizer):
    obj = b"v 0 0 0\nv 4 0 0\nv 4 3 0\nv 0 3 0\nv 9 9 9\nf 1 2 3 4\n"
    sample = tokenizer.read(obj)
    places = sample.record.restore(sample.data)
    assert (len(places), sample.record.of, sample.record.faces) == (128, 512, 2)
    assert places[:, 2].abs().max() < 1e-6
    assert (places.min(0).values > -1e-6).all()
    assert (places[:, :2].max(0).values < torch.tensor([4 + 1e-6, 3 + 1e-6])).all()
    empty = torch.cdist(torch.cartesian_prod(torch.arange(0.0, 4.1), torch.arange(0.0, 3.1)).double(), places[:, :2])
    assert empty.min(-1).values.max() < 0.6


def test_colours_go_with_their_points():
    tokenizer = PointCloud(24, points=64, groups=8, coloured=True).eval()
    source = cloud(200, colours=True)
    sample = tokenizer.read(source)
    places = sample.record.restore(sample.data[:, :3])
    origin = torch.cdist(places, torch.from_numpy(source[:, :3])).argmin(-1)
    torch.testing.assert_close(sample.data[:, 3:], 2 * torch.from_numpy(source[origin, 3:]).float() - 1)
    grey = source.copy()
    grey[:, 3:] = 0.5
    assert not torch.equal(encoded(tokenizer, source).x, encoded(tokenizer, grey).x)
    plain = PointCloud(24, points=64, groups=8).eval()
    assert torch.equal(encoded(plain, source).x, encoded(plain, grey).x)


def test_colours_of_a_mesh_are_mixed_from_its_corners():
    obj = b"v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 1\nf 1 2 3\n"
    sample = PointCloud(24, points=64, coloured=True).read(obj)
    places, rgb = sample.record.restore(sample.data[:, :3]), (sample.data[:, 3:].double() + 1) / 2
    torch.testing.assert_close(rgb, torch.stack([1 - places[:, 0] - places[:, 1], places[:, 0], places[:, 1]], -1))


def test_clouds_of_other_sizes_are_packed_with_their_centres(tokenizer):
    clouds = [cloud(300), cloud(9), cloud(40)]
    tokens = encoded(tokenizer, *clouds)
    assert tokens.side.grids == ((16,), (9,), (16,))
    at = 0
    for source, row in zip(clouds, tokens.split(), strict=True):
        alone = encoded(tokenizer, source)
        torch.testing.assert_close(row, alone.x[0])
        assert torch.equal(tokens.side.positions[0, at : at + len(row)], alone.side.positions[0])
        at += len(row)


def test_a_model_places_tokens_by_their_centres():
    part = Part(
        Model,
        dim=24,
        tokenizers={"point_cloud": Part(PointCloud, groups=8)},
        positions={"point_cloud": Part(SinCos)},
        prefix=1,
        transformer=pre_norm(depth=1, heads=3, hidden=48),
    )
    model = Part.from_json(json.loads(json.dumps(part.to_json())))().eval()
    tokenizer = model.tokenizer("point_cloud")
    batch = tokenizer.collate([tokenizer.read(cloud(100)), tokenizer.read(cloud(100))])
    tokens = model.tokenize(batch)
    bare = tokenizer(batch)
    assert tokens.x.shape == (2, 9, 24)
    torch.testing.assert_close(tokens.x[:, 1:], SinCos(24)(bare.x, bare.side))


def test_several_threads_read_what_one_reads(tokenizer):
    clouds = [cloud(200 + i) for i in range(8)]
    alone = [tokenizer.read(c).data for c in clouds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: tokenizer.read(clouds[i % 8]).data, range(24)))
    assert all(torch.equal(data, alone[i % 8]) for i, data in enumerate(together))


@pytest.mark.parametrize(
    "source, cause",
    [
        (b"", "is empty"),
        (np.ones((50, 3)), "has 50 points, all at one place; at least two different ones are needed"),
        (np.ones((1, 3)), "has 1 points, all at one place"),
        (1e-120 * np.eye(3), "has points within 8.16e-121 of each other"),
        (b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "is a mesh of 1 triangles without area"),
        (b"f 1 2 3\n", "is no number|no vertices"),
        (np.full((9, 3), np.nan), "not finite"),
        (np.ones((9, 2)), r"has the shape \(9, 2\)"),
        (b"LASF" + bytes(99), "LAS or LAZ"),
    ],
)
def test_what_is_no_cloud_is_refused(source, cause, tokenizer):
    with pytest.raises(InputError, match=cause):
        tokenizer.read(source)


def test_a_cloud_without_colours_is_refused_where_they_are_needed():
    with pytest.raises(InputError, match="has no colours; give red, green and blue, or set coloured=False"):
        PointCloud(8, coloured=True).read(cloud(50))


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"points": 0}, "points must be positive, not 0"),
        ({"groups": -1}, "groups must be positive, not -1"),
        ({"neighbours": 0}, "neighbours must be positive, not 0"),
        ({"sampling": "best"}, "sampling must be 'farthest' or 'random', not 'best'"),
    ],
)
def test_a_wrong_setting_is_named(settings, cause):
    with pytest.raises(ValueError, match=cause):
        PointCloud(8, **settings)


def test_an_empty_batch_is_refused(tokenizer):
    with pytest.raises(ValueError, match="samples is empty"):
        tokenizer.collate([])


def test_real_meshes_are_read(shared_data, tmp_path):
    tokenizer = PointCloud(16).eval()
    with zipfile.ZipFile(shared_data / "ycb_meshes" / "ycb_meshes.zip") as archive:
        for name in ("visual/YcbPowerDrill.obj", "collision/YcbHammer.obj"):
            path = tmp_path / name.rpartition("/")[2]
            path.write_bytes(archive.read(name))
            sample = tokenizer.read(path)
            extent = np.ptp(sample.record.restore(sample.data).numpy(), axis=0)
            vertices = np.array(
                [line.split()[1:4] for line in path.read_text().splitlines() if line[:2] == "v "], float
            )
            assert np.all(extent <= np.ptp(vertices, axis=0) + 1e-6)
            assert np.all(extent > 0.9 * np.ptp(vertices, axis=0))
            assert PointCloud.claims(path) > 0.5


def test_real_shapes_of_voxels_are_told_apart_by_their_extent(shared_data):
    """The record's scale and centre are the shapes' own."""
    packed = np.load(shared_data / "modelnet_chair_monitor_voxels" / "voxels32.npz")["voxels"][:6]
    tokenizer = PointCloud(16).eval()
    for voxels in np.unpackbits(packed, axis=-1):
        points = np.argwhere(voxels).astype(np.float32)
        sample = tokenizer.read(points)
        back = sample.record.restore(sample.data)
        torch.testing.assert_close(back, back.round(), rtol=0, atol=1e-4)
        assert sample.record.points == min(1024, len(points))
