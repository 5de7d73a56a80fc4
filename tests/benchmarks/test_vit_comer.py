"""The benchmark of ViT-CoMer: both candidates start from one transformer, and a few steps lower their losses."""

import torch

from benchmarks.descent import descend
from benchmarks.vit_comer import LARGE, SIDE, SMALL, segmenters, shapes
from unimodal.sample import Batch


def test_shapes_lie_within_the_picture_and_have_the_sizes_asked_for():
    pixels, classes = shapes(20, SMALL, 0)
    assert (pixels.shape, classes.shape) == ((20, 3, SIDE, SIDE), (20, SIDE, SIDE))
    assert set(classes.unique().tolist()) == {0, 1, 2, 3}
    assert (shapes(20, LARGE, 0)[1] > 0).sum() > 4 * (classes > 0).sum()


def test_both_start_from_the_same_tokens():
    nets = segmenters()
    alone, adapted = (nets[name].model.eval() for name in ("vit", "vit_comer"))
    pixels, _ = shapes(2, SMALL, 0)
    with torch.inference_mode():
        assert torch.equal(alone(Batch("image", pixels)).x, adapted(Batch("image", pixels)).x)


def test_the_adapted_one_learns_small_shapes_in_a_few_steps():
    torch.manual_seed(0)
    net = segmenters()["vit_comer"].train()
    pixels, classes = shapes(2, SMALL, 0)
    weight = torch.tensor([0.2, 1.0, 1.0, 1.0])

    def loss(_: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(net(pixels), classes, weight=weight)

    losses = list(descend(net.parameters(), loss, steps=5, rate=1e-3))
    assert losses[-1] < losses[0]
