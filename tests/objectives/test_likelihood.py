"""The objective ``likelihood`` against its equation, ClipLoss, and what must not matter to it."""

import math
from typing import Any

import numpy
import pytest
import torch

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.objectives.likelihood import Likelihood
from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.sample import Batch
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.tokenizers.text import Text
from unimodal.transformer import Transformer

DIM = 12


def model(readout: Part | None = Part(ClassToken)) -> Any:
    return Model(
        DIM,
        tokenizers={
            "image": Part(Image, stem=Part(PatchStem, patch=4), size=None, fit="native"),
            "text": Part(Text, encoding="bytes", causal=False),
        },
        transformer=Part(
            Transformer, depth=2, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain, ratio=2.0))
        ),
        prefix=1,
        readout=readout,
    ).double()


def objective(*tasks: str) -> Likelihood:
    made = Likelihood(DIM, tasks=tasks or ("pictures",)).double()
    for parameter in made.norm.parameters():
        torch.nn.init.normal_(parameter)
    return made


def pictures(count: int = 3) -> Batch:
    return Batch("image", torch.randn(count, 3, 8, 12, dtype=torch.float64))


def names(net: Any, *words: str) -> Batch:
    text = net.tokenizer("text")
    return text.collate([text.read(word) for word in words])


def by_hand(made: Likelihood, z: torch.Tensor) -> list[float]:
    """W LN(z) + b at unit length, in loops."""
    values: list[float] = z.tolist()
    mean = sum(values) / DIM
    variance = sum((v - mean) ** 2 for v in values) / DIM
    weight, bias = (parameter.tolist() for parameter in made.norm.parameters())
    deviation = math.sqrt(variance + 1e-5)
    normed = [(v - mean) / deviation * w + b for v, w, b in zip(values, weight, bias, strict=True)]
    rows, offsets = made.project.weight.tolist(), made.project.bias.tolist()
    mapped = [sum(w * v for w, v in zip(row, normed, strict=True)) + o for row, o in zip(rows, offsets, strict=True)]
    length = math.sqrt(sum(v * v for v in mapped))
    return [v / length for v in mapped]


def test_it_is_the_cross_entropy_of_cosines_over_the_temperature():
    net, made, x = model(), objective(), pictures()
    y, labels = names(net, "a dog", "seven", "a"), torch.tensor([2, 0, 0])
    f_x = [by_hand(made, z) for z in net.embed(x)]
    f_y = [by_hand(made, z) for z in net.embed(y)]
    total, tau = 0.0, 1 / math.exp(made.log_scale["pictures"].item())
    for vector, label in zip(f_x, labels.tolist(), strict=True):
        likelihoods = [math.exp(sum(a * b for a, b in zip(vector, target, strict=True)) / tau) for target in f_y]
        total -= math.log(likelihoods[label] / sum(likelihoods)) / 3
    assert made(net, "pictures", x, y, labels).item() == pytest.approx(total, abs=1e-10)


def test_probabilities_may_stand_for_labels():
    net, made, x = model(), objective(), pictures()
    y, labels = names(net, "one", "two"), torch.tensor([1, 0, 1])
    soft = torch.nn.functional.one_hot(labels).double()
    torch.testing.assert_close(
        made(net, "pictures", x, y, soft), made(net, "pictures", x, y, labels), rtol=0, atol=1e-12
    )


def test_retrieval_is_open_clips_loss_with_its_gradients():
    loss = pytest.importorskip("open_clip.loss")
    net, made, x = model(), objective(), pictures(4)
    y = names(net, "zero", "one", "two", "three")
    ours = made.retrieval(net, "pictures", x, y)
    theirs = loss.ClipLoss()(made.encode(net, x), made.encode(net, y), made.scale("pictures"))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    weights = [made.project.weight, made.log_scale["pictures"]]
    for a, b in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_the_scale_starts_at_one_over_the_temperature_and_stops_at_100():
    made = objective("a", "b")
    assert made.scale("a").item() == pytest.approx(1 / 0.07, rel=1e-6)
    with torch.no_grad():
        made.log_scale["a"].fill_(5.0)
    assert made.scale("a").item() == 100.0
    assert torch.autograd.grad(made.scale("a"), made.log_scale["a"])[0].item() == 0.0
    assert made.scale("b").item() == pytest.approx(1 / 0.07, rel=1e-6)


def test_a_further_task_costs_one_scalar_and_shares_the_rest():
    one, many = Likelihood(DIM, tasks=("a",)), Likelihood(DIM, tasks=("a", "b", "c", "d"))
    sizes = [sum(p.numel() for p in made.parameters()) for made in (one, many)]
    assert sizes[1] - sizes[0] == 3
    assert sizes[0] == 2 * DIM + DIM * DIM + DIM + 1
    left = set(many.state_dict()) - set(one.state_dict())
    assert left == {"log_scale.b", "log_scale.c", "log_scale.d"}


def test_the_order_of_classes_does_not_matter():
    net, made, x = model(), objective(), pictures()
    words, order, labels = ("one", "two", "three", "four"), [2, 0, 3, 1], torch.tensor([1, 3, 0])
    there = made.logits(net, "pictures", x, names(net, *words))
    moved = made.logits(net, "pictures", x, names(net, *(words[i] for i in order)))
    torch.testing.assert_close(moved, there[:, order], rtol=0, atol=1e-12)
    where = torch.tensor([order.index(i) for i in labels.tolist()])
    torch.testing.assert_close(
        made(net, "pictures", x, names(net, *(words[i] for i in order)), where),
        made(net, "pictures", x, names(net, *words), labels),
        rtol=0,
        atol=1e-12,
    )


def test_a_further_class_leaves_the_other_logits_and_all_parameters_as_they_are():
    net, made, x = model(), objective(), pictures()
    before = made.logits(net, "pictures", x, names(net, "one", "two"))
    after = made.logits(net, "pictures", x, names(net, "one", "two", "twenty one"))
    assert after.shape == (3, 3)
    torch.testing.assert_close(after[:, :2], before, rtol=0, atol=1e-12)


def test_targets_that_were_encoded_once_give_the_same_logits():
    net, made, x = model(), objective(), pictures()
    y = names(net, "one", "two")
    kept = made.encode(net, y)
    assert torch.equal(made.compared("pictures", made.encode(net, x), kept), made.logits(net, "pictures", x, y))


def test_an_input_may_have_samples_of_several_modalities():
    net, made = model(), objective()
    text, image = net.tokenizer("text"), net.tokenizer("image")
    net.float()
    made.float()
    shown = image.read(numpy.random.randint(0, 256, (8, 8, 3), dtype=numpy.uint8))
    both = net.together([[shown, text.read("which?")], [text.read("no picture")]])
    logits = made.logits(net, "pictures", both, names(net, "one", "two", "three"))
    assert logits.shape == (2, 3)
    assert logits.abs().max() <= made.scale("pictures") + 1e-4


def test_gradients_reach_the_core_through_inputs_and_through_targets():
    net, made = model(), objective()
    loss = made(net, "pictures", pictures(), names(net, "one", "two"), torch.tensor([0, 1, 1]))
    loss.backward()
    for module in (net.transformer, net.tokenizer("image"), net.tokenizer("text"), made):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_half_precision_vectors_are_compared_in_float32():
    made = Likelihood(DIM, tasks=("a",)).bfloat16()
    assert made.unit(torch.randn(2, DIM, dtype=torch.bfloat16)).dtype == torch.float32


def test_wrong_requests_raise():
    for tasks in ((), ("a", "a"), ("",), ("a.b",), "abc"):
        with pytest.raises(ValueError, match="different names without dots"):
            Likelihood(DIM, tasks=tasks)
    with pytest.raises(ValueError, match="temperature must be positive"):
        Likelihood(DIM, tasks=("a",), temperature=0.0)
    net, made = model(), objective("a", "b")
    with pytest.raises(ValueError, match="one of a, b, not 'c'"):
        made(net, "c", pictures(), names(net, "one", "two"), torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match="2 partners"):
        made.retrieval(net, "a", pictures(), names(net, "one", "two"))
    with pytest.raises(ValueError, match="no readout"):
        made(model(None), "a", pictures(), names(net, "one", "two"), torch.tensor([0, 1, 1]))
