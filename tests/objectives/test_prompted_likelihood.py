"""The objective ``prompted_likelihood``: the start, the sum by hand, what is trained, and how little that is."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.deep_prompts import prompt
from unimodal.objectives.likelihood import Likelihood
from unimodal.objectives.prompted_likelihood import PromptedLikelihood
from unimodal.part import Part
from unimodal.recipes.uni_perceiver import uni_perceiver
from unimodal.sample import Batch
from unimodal.tokenizers.text import Text

DIM = 192
WORDS = ("one", "twenty", "three")


def model() -> Any:
    torch.manual_seed(1)
    made: Any = uni_perceiver("tiny", image=32, text=Part(Text, encoding="bytes"), context=64, layer_scale=0.5)()
    del made.transformer.blocks[2:]
    made.transformer.depth = 2
    return made.eval().double()


def pictures() -> Batch:
    return Batch("image", torch.randn(2, 3, 32, 32, dtype=torch.float64))


def names(net: Any, *words: str) -> Batch:
    text = net.tokenizer("text")
    return text.collate([text.read(word) for word in words or WORDS])


def likelihood() -> Likelihood:
    return Likelihood(DIM, tasks=("pictures",)).double()


def trained(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


def test_at_the_start_the_logits_are_the_likelihoods():
    net, made, x = model(), likelihood(), pictures()
    new = PromptedLikelihood(made, targets=3).double()
    y = names(net)
    assert torch.equal(new.logits(net, "pictures", x, y), made.logits(net, "pictures", x, y))


def test_the_logits_are_the_sum_by_hand():
    net, made, x = model(), likelihood(), pictures()
    new: Any = PromptedLikelihood(made, targets=3).double()
    for parameter in (new.weight, new.linear.weight, new.linear.bias):
        nn.init.normal_(parameter)
    y, m = names(net), made.project(made.norm(net.embed(x)))
    logits = new.logits(net, "pictures", x, y)
    likely = made.logits(net, "pictures", x, y)
    for s in range(2):
        for k in range(3):
            added = sum(a * b for a, b in zip(new.linear.weight[k].tolist(), m[s].tolist(), strict=True))
            wanted = new.weight.item() * likely[s, k].item() + added + new.linear.bias[k].item()
            assert logits[s, k].item() == pytest.approx(wanted, abs=1e-10)
    labels = torch.tensor([2, 0])
    torch.testing.assert_close(
        new(net, "pictures", x, y, labels), -logits.log_softmax(-1)[[0, 1], labels].mean(), rtol=0, atol=1e-12
    )


def test_a_label_prompt_stands_between_the_prefix_and_the_text_of_its_target_alone():
    net, made = model(), likelihood()
    new: Any = PromptedLikelihood(made, targets=3, linear=False, label_prompts=True).double()
    nn.init.normal_(new.label_prompts)
    x, y = pictures(), names(net)
    f_y = []
    for word, token in zip(WORDS, new.label_prompts, strict=True):
        one = net.tokenize(names(net, word)).x
        longer = torch.cat([one[:, :1], token[None], one[:, 1:]], 1)
        out = longer
        for block in net.transformer.blocks:
            out = block(out)
        f_y.append(made.unit(out[0, 0]))
    wanted = made.compared("pictures", made.encode(net, x), torch.stack(f_y))
    torch.testing.assert_close(new.logits(net, "pictures", x, y), wanted, rtol=0, atol=1e-10)
    before = new.logits(net, "pictures", x, y)
    with torch.no_grad():
        new.label_prompts[1].normal_()
    after = new.logits(net, "pictures", x, y)
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]], rtol=0, atol=1e-12)
    assert not torch.allclose(after[:, 1], before[:, 1], atol=1e-3)


def test_only_the_listed_tensors_change():
    net, made = model(), likelihood()
    new: Any = PromptedLikelihood(made, targets=3, label_prompts=True).double()
    found = prompt(net)
    start = {k: v.clone() for part in (found.model, new) for k, v in part.state_dict().items()}
    parameters = [p for part in (found.model, new) for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    for _ in range(2):
        loss = new(found.model, "pictures", pictures(), names(net), torch.tensor([2, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    end = {k: v for part in (found.model, new) for k, v in part.state_dict().items()}
    moved = {k for k, v in end.items() if not torch.equal(v, start[k])}
    own = {"weight", "linear.weight", "linear.bias", "label_prompts", "likelihood.norm.weight", "likelihood.norm.bias"}
    assert moved == set(found.names) | own
    assert trained(new) == own
    assert all(p.requires_grad for p in made.parameters())


@pytest.mark.parametrize("settings", [{}, {"linear": False, "label_prompts": True}, {"label_prompts": True}])
def test_at_the_base_size_less_than_2_percent_are_trained(settings):
    with torch.device("meta"):
        net: Any = uni_perceiver("base", image=224)()
        made = Likelihood(768, tasks=("imagenet",))
        new, found = PromptedLikelihood(made, targets=1000, **settings), prompt(net)
    ours = found.trained + sum(p.numel() for p in new.parameters() if p.requires_grad)
    linear, labels = 768 * 1000 + 1000 + 1, 768 * 1000
    norms, prompts = 2 * 768 * (12 * 2 + 1 + 1), 12 * 10 * 768
    extra = (linear if settings.get("linear", True) else 0) + (labels if "label_prompts" in settings else 0)
    assert ours == norms + prompts + 768 + extra
    assert ours / (found.total + sum(p.numel() for p in made.parameters())) < 0.02


def test_wrong_requests_raise():
    net, made = model(), likelihood()
    with pytest.raises(ValueError, match="targets must be positive"):
        PromptedLikelihood(made, targets=0)
    with pytest.raises(ValueError, match="one of linear, label_prompts"):
        PromptedLikelihood(made, targets=3, linear=False)
    with pytest.raises(ValueError, match="2 targets, and the prompts are of 3"):
        PromptedLikelihood(made, targets=3).double().logits(net, "pictures", pictures(), names(net, "one", "two"))
    labelled = PromptedLikelihood(made, targets=3, label_prompts=True).double()
    whole = net.tokenizer("text").forward
    net.tokenizer("text").forward = lambda batch: whole(batch).replace(size=torch.ones(3, 7))
    with pytest.raises(ValueError, match="text has positions or sizes"):
        labelled.logits(net, "pictures", pictures(), names(net))
