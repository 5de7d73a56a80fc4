"""The point hierarchy against its equations, point by point, and its published size."""

import math

import numpy as np
import pytest
import torch

from unimodal.farthest_points import farthest_points
from unimodal.part import Part
from unimodal.point_hierarchy import PointHierarchy
from unimodal.tokenizers.point_cloud import PointCloud

SMALL = {"neighbours": 3, "blocks": (2, 1), "hidden": (None, 5)}


def cloud(count, rows=1):
    """In farthest-point order."""
    points = torch.randn(rows, count, 3, dtype=torch.float64)
    return torch.gather(points, 1, farthest_points(points, count)[..., None].expand(-1, -1, 3))


@pytest.fixture
def network():
    network = PointHierarchy(24, **SMALL).double()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if "var" in name else tensor.normal_().mul_(0.3)
    return network.eval()


def norm(bn, v):
    return (v - bn.running_mean) / (bn.running_var + bn.eps).sqrt() * bn.weight + bn.bias


def waves(offset, width):
    """Sines, then cosines, of each coordinate in turn."""
    n, out = width // 6, []
    for c in offset:
        angles = [100.0 * c / 1000.0 ** (i / n) for i in range(n)]
        out += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return torch.tensor(out, dtype=torch.float64)


def slowly(network, points, tokens):
    f = [norm(network.norm_lift, network.lift.weight @ p).relu() for p in points]
    for stage in network.stages:
        kept = max(tokens, len(points) // 2) if stage is not network.stages[-1] else tokens
        chosen = [0]
        while len(chosen) < kept:  # the definition of farthest-point sampling, from the first point on
            near = torch.stack([(points - points[c]).square().sum(-1) for c in chosen]).min(0).values
            chosen.append(int(near.argmax()))
        gathered = []
        for c in chosen:
            by_distance = sorted(range(len(points)), key=lambda n: float((points[n] - points[c]).norm()))
            near = by_distance[: network.neighbours]
            offsets = torch.stack([points[n] - points[c] for n in near])
            largest = offsets.abs().max(0).values
            rows = []
            for n, offset in zip(near, offsets, strict=True):
                h = torch.cat([f[n], f[c]])
                h = h + waves([float(o / m) if m > 0 else 0.0 for o, m in zip(offset, largest, strict=True)], len(h))
                for block in stage:
                    inner = norm(block.norm_hidden, block.to_hidden.weight @ h + block.to_hidden.bias).relu()
                    h = (norm(block.norm_out, block.to_out.weight @ inner + block.to_out.bias) + h).relu()
                rows.append(h)
            gathered.append(torch.stack(rows).max(0).values)
        f, points = gathered, points[torch.tensor(chosen)]
    return torch.stack(f)


@pytest.mark.parametrize("count, tokens", [(16, 4), (13, 2), (9, 9)])
def test_it_equals_the_equations(network, count, tokens):
    """Waves are float32, whose angles of up to 100 are off by 100 * 2^-24 = 6e-6."""
    clouds = cloud(count, rows=2)
    out = network(clouds, tokens)
    assert out.shape == (2, tokens, 24)
    for row, points in zip(out, clouds, strict=True):
        torch.testing.assert_close(row, slowly(network, points, tokens), rtol=1e-4, atol=1e-4)


def test_a_flat_cloud_gives_finite_tokens_and_gradients(network):
    points = cloud(12)
    points[..., 2] = 0.25
    points.requires_grad_()
    out = network(points, 3)
    (slope,) = torch.autograd.grad(out.square().sum(), points)
    assert out.isfinite().all()
    assert slope.isfinite().all()


def test_a_cloud_smaller_than_its_groups_is_a_group(network):
    assert network(cloud(2), 1).isfinite().all()
    assert network(cloud(1), 1).isfinite().all()


def test_neither_size_of_a_group_nor_its_place_reach_the_waves(network):
    """Only the first map sees coordinates; with it put out, a cloud may be moved and scaled."""
    torch.nn.init.zeros_(network.lift.weight)
    points = cloud(16)
    torch.testing.assert_close(network(points, 4), network(8.0 * points - 3.0, 4), rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_parameter(network):
    network.train()(cloud(16, rows=2), 4).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_it_has_the_released_number_of_parameters():
    with torch.device("meta"):
        network = PointHierarchy(768)
    assert sum(p.numel() for p in network.parameters()) == 276_672


def test_stages_of_the_published_size_halve_the_points():
    """Of 1,024 points: 512, 256 and 128 centres, with 192, 384 and 768 channels."""
    network = PointHierarchy(768, neighbours=1).eval()
    seen = []
    for stage in network.stages:
        stage.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape)))
    network(torch.randn(1, 1024, 3), 128)
    assert seen == [(512, 192), (256, 384), (128, 768)]


def test_the_tokenizer_takes_it_and_the_order_of_a_file_does_not_matter():
    source = np.random.default_rng(0).standard_normal((90, 3))
    for sampling in ("farthest", "random"):
        part = Part(PointCloud, points=64, groups=8, neighbours=5, sampling=sampling, encoder=Part(PointHierarchy))
        torch.manual_seed(0)
        tokenizer = Part.from_json(part.to_json())(24).eval()
        first = tokenizer.read(source)
        tokens = tokenizer(tokenizer.collate([first]))
        shuffled = tokenizer.read(np.random.default_rng(1).permutation(source))
        assert torch.equal(tokens.x, tokenizer(tokenizer.collate([shuffled])).x)
        assert (tokenizer.encoder.neighbours, tuple(tokens.x.shape)) == (5, (1, 8, 24))
        assert torch.equal(tokens.side.positions, first.data[None, :8])
        assert torch.equal(farthest_points(first.data[None], 64, start=0)[0], torch.arange(64))
        assert not torch.equal(tokens.x, tokenizer(tokenizer.collate([tokenizer.read(2.0 * source[::-1] ** 3)])).x)


@pytest.mark.parametrize(
    "dim, settings, message",
    [
        (20, {}, "dim must be a multiple of 8, 24 at least, not 20"),
        (16, {}, "dim must be a multiple of 8, 24 at least, not 16"),
        (24, {"hidden": (None, 4)}, "hidden must have a width for each of 3 stages"),
        (24, {"neighbours": 0}, "counts must be positive"),
        (24, {"blocks": (1, 0, 1)}, "counts must be positive"),
        (24, {"hidden": (1, 1, 0)}, "counts must be positive"),
    ],
)
def test_settings_that_cannot_be_are_refused(dim, settings, message):
    with pytest.raises(ValueError, match=message):
        PointHierarchy(dim, **settings)


def test_more_tokens_than_points_are_refused(network):
    with pytest.raises(ValueError, match="tokens must be 1 to the 4 points there are, not 5"):
        network(cloud(4), 5)
