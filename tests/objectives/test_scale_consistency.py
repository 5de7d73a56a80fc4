"""The objective ``scale_consistency`` against its sum by hand, its teacher, its order."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.block import Block
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.objectives.scale_consistency import ScaleConsistency
from unimodal.part import Part
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.sample import Batch
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.transformer import Transformer

SIZES = (16, 12, 8)


def model(readout: Part | None = Part(Head, pool=Part(Mean), width=5)) -> Any:
    return Model(
        12,
        tokenizers={"image": Part(Image, stem=Part(PatchStem, patch=4), size=None, fit="native")},
        transformer=Part(Transformer, depth=1, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=None)),
        readout=readout,
    ).double()


def batches(sizes=SIZES) -> list[Batch]:
    return [Batch("image", torch.randn(3, 3, n, n, dtype=torch.float64)) for n in sizes]


LABELS = torch.tensor([0, 4, 2])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_it_is_the_sum_by_hand(count: int, weight: float):
    net, given, wanted, teacher = model(), batches()[:count], 0.0, None
    for batch in given:
        z = net.readout.pool(net.transformer(net.tokenize(batch)))
        for row, label in zip(net.readout.mapped(z), LABELS.tolist(), strict=True):
            wanted -= row.log_softmax(0)[label].item() / 3
        if teacher is not None:
            for row, above in zip(z, teacher, strict=True):
                mean = above.mean()
                white = (above - mean) / ((above - mean).square().mean() + 1e-6).sqrt()
                gap = (row - white).abs()
                wanted += weight * torch.where(gap < 1, gap**2 / 2, gap - 0.5).mean().item() / 3
        teacher = z
    assert ScaleConsistency(weight=weight)(net, given, LABELS).item() == pytest.approx(wanted / count, abs=1e-12)


def test_no_gradient_reaches_a_larger_size_through_a_smaller_ones_target():
    """With a picture of its own for each size: that of the largest gets the gradient of its own loss alone."""
    net, given = model(), batches((16, 8))
    picture: Any = given[0].data
    picture.requires_grad_()
    (both,) = torch.autograd.grad(ScaleConsistency()(net, given, LABELS), picture)
    (alone,) = torch.autograd.grad(ScaleConsistency()(net, given[:1], LABELS), picture)
    torch.testing.assert_close(both, alone / 2, rtol=0, atol=1e-15)


def test_equal_vectors_are_measured_against_their_whitened_form():
    net, given = model(), batches((8,))
    loss = ScaleConsistency(weight=1.0)(net, given * 2, LABELS) - ScaleConsistency(weight=0.0)(net, given * 2, LABELS)
    z = net.readout.pool(net.transformer(net.tokenize(given[0])))
    assert loss.item() == pytest.approx(F.smooth_l1_loss(z, F.layer_norm(z, (12,), eps=1e-6)).item() / 2, abs=1e-12)
    assert loss.item() > 0


def test_probabilities_may_stand_for_labels():
    net, given, soft = model(), batches(), F.one_hot(LABELS, 5).double()
    assert ScaleConsistency()(net, given, soft).item() == pytest.approx(ScaleConsistency()(net, given, LABELS).item())


def test_wrong_requests_raise():
    with pytest.raises(ValueError, match="weight must not be negative"):
        ScaleConsistency(weight=-1.0)
    with pytest.raises(ValueError, match="there is no batch"):
        ScaleConsistency()(model(), [], LABELS)
    with pytest.raises(ValueError, match="must be a Head, not Mean"):
        ScaleConsistency()(model(Part(Mean)), batches(), LABELS)
    with pytest.raises(ValueError, match="from the largest to the smallest"):
        ScaleConsistency()(model(), batches((8, 16)), LABELS)
