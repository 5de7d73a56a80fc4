"""The benchmark of what pyramids learn: its networks are of one size and differ in what they say."""

from typing import Any

import pytest
import torch

from benchmarks.frequency_response import frequency_response
from benchmarks.pyramid_learning import ARMS, KINDS, SIDE, bands, reached, scenes, segmenter
from unimodal.average_pooling import AveragePooling
from unimodal.mixers.convolution import Convolution
from unimodal.mixers.full import Full
from unimodal.mixers.reduced_keys import ReducedKeys
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch


def made(comparison: str) -> dict[str, Any]:
    return {name: segmenter(part) if comparison == "pvt" else part() for name, part in ARMS[comparison].items()}


def kinds(model: Any, *asked: type) -> int:
    return sum(isinstance(module, asked) for module in model.modules())


@pytest.mark.parametrize("comparison", ARMS)
def test_networks_that_are_compared_have_equal_parameters_and_tell_the_same_classes(comparison):
    nets: dict[str, Any] = {name: net.eval() for name, net in made(comparison).items()}
    nets |= {name: reparameterize(net) for name, net in nets.items()} if comparison == "fmvit" else {}
    first, *others = (sum(p.numel() for p in net.parameters()) for net in nets.values())
    assert all(other == pytest.approx(first, rel=0.0 if comparison == "fmvit" else 0.03) for other in others)
    side, shape = (SIDE, (2, KINDS, SIDE, SIDE)) if comparison == "pvt" else (32, (2, 10))
    pixels = torch.randn(2, 3, side, side)
    for net in nets.values():
        answer = net(pixels) if comparison == "pvt" else net.embed(Batch("image", pixels))
        assert answer.shape == shape


def test_networks_differ_in_what_they_say():
    cvt, vit = made("cvt").values()
    assert (kinds(cvt, Learned), kinds(vit, Learned)) == (0, 0)
    assert kinds(vit, Full) == 5
    pvt, vit = made("pvt").values()
    assert (len(pvt.depths), len(vit.depths), kinds(vit, Learned)) == (4, 0, 1)
    assert vit.model.strides("image")[-1] == 16
    attending = {name: kinds(net, Full) for name, net in made("next_vit").items()}
    assert attending == {"next_vit": 3, "convolutions": 0, "transformers": 8}
    assert kinds(made("next_vit")["transformers"].transformer, Convolution) == 8
    several, one = (sum(p.numel() for p in net.parameters()) for net in made("fmvit").values())
    assert several > 1.4 * one


def test_the_vit_without_positions_reads_a_bag_of_patches_and_cvt_does_not():
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, 32, 32)
    moved = pixels.unflatten(-1, (8, 4))[..., torch.randperm(8), :].flatten(-2)
    for name, net in made("cvt").items():
        here, there = (net.eval().embed(Batch("image", x)) for x in (pixels, moved))
        assert torch.allclose(here, there, rtol=0, atol=1e-5) == (name == "vit")


def test_scenes_show_digits_to_be_told_and_clutter_that_is_none():
    draw, pictures = torch.Generator().manual_seed(0), torch.full((50, 1, 28, 28), -1.0)
    pictures[:, :, 8:20, 8:20] = 1.0
    pixels, classes = scenes(pictures, torch.arange(50) % 10, 8, draw)
    assert (pixels.shape, classes.shape) == ((8, 3, SIDE, SIDE), (8, SIDE, SIDE))
    assert set(classes.unique().tolist()) <= {0, 1, 2, 3, 4}
    assert bool((classes.flatten(1).count_nonzero(1) >= 144).all())
    assert bool((pixels.mean(1)[classes == 0] > 1).any())
    assert bool((pixels.mean(1)[classes > 0] > 0.5).all())


def test_means_of_boxes_do_not_answer_to_a_checkerboard_and_differences_answer_to_nothing_else():
    torch.manual_seed(0)
    low = ReducedKeys(16, mixer=Part(Full, heads=2), reduce=Part(AveragePooling)).eval()
    high = Convolution(16, groups=16, bias=False)
    high.weight.data.sub_(high.weight.data.mean((2, 3), keepdim=True))
    seen = torch.randn(4, 64, 16)
    answers = [frequency_response(part, seen) for part in (low, high)]
    assert answers[0]["board_over_constant"] < 1e-4
    assert answers[0]["fine_over_coarse"] < 1 < answers[1]["fine_over_coarse"]
    assert answers[1]["board_over_constant"] > 1e4


def test_bands_of_an_fmvit_are_listened_to():
    answers = bands(made("fmvit")["several branches"].eval(), torch.randn(2, 3, 32, 32))
    assert list(answers) == ["low", "high_3", "high_5"]
    assert answers["low"]["board_over_constant"] < 1e-3


@pytest.mark.parametrize(
    "comparison, figures, met",
    [
        ("cvt", {"cvt": [0.5, 0.5], "vit": [0.44, 0.45]}, True),
        ("cvt", {"cvt": [0.5, 0.5], "vit": [0.3, 0.51]}, False),
        ("next_vit", {"next_vit": [0.5], "convolutions": [0.51], "transformers": [0.4]}, True),
        ("next_vit", {"next_vit": [0.5], "convolutions": [0.52], "transformers": [0.4]}, False),
        ("rmt", {"rmt": [0.96, 0.95]}, False),
    ],
)
def test_what_is_asked_is_what_the_text_says(comparison, figures, met):
    rows = [{"candidate": arm, "accuracy": n, "cpu_s": 20.0} for arm, values in figures.items() for n in values]
    assert reached(comparison, rows) == met
