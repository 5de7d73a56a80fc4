"""What is collected is what the attention maps say, and the model computes what it computed."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch import Tensor

import unimodal
from unimodal.attention.diagonal import DiagonalAttention
from unimodal.attention.relative_bias import RelativeBiasAttention
from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.attention.universal_relative import UniversalRelativeAttention
from unimodal.attention_statistics import attention_statistics
from unimodal.embedding import Embedder
from unimodal.side import Side

PICTURE = Path(__file__).parents[1] / "unimodal" / "data" / "samples" / "object_cat.jpg"
N = 9


@torch.inference_mode()
def test_column_sums_and_entropies_of_the_embedded_encoder_on_a_picture_are_those_of_explicit_maps():
    model, maps = unimodal.load("unimodal:small_multimodal_encoder"), {}
    embedder = Embedder(model)
    sample = embedder.read(PICTURE)
    attentions = {n: m for n, m in model.named_modules() if isinstance(m, SoftmaxAttention)}

    def keep(name: str) -> Any:
        def hook(module: Any, given: tuple[Any, ...]) -> None:
            q, k = (x.double() for x in given[:2])
            k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
            logit = q @ k.mT * (q.shape[-1] ** -0.5 if module.scale is None else module.scale)
            side = given[3] if len(given) > 3 else Side()
            assert side.mask is side.bias is side.lengths is None  # the equation here has none of them
            maps[name] = logit.softmax(-1)

        return hook

    handles = [m.register_forward_pre_hook(keep(n)) for n, m in attentions.items()]
    [plain] = embedder.predict([sample])
    for handle in handles:
        handle.remove()
    with attention_statistics(model) as seen:
        [observed] = embedder.predict([sample])
    embedder.predict([sample])
    assert torch.equal(observed.tokens, plain.tokens)
    assert list(seen) == list(attentions)
    assert seen.unobserved == ()
    one: Any
    for name, (one,) in seen.items():
        torch.testing.assert_close(one.column_sums.double(), maps[name].sum(2), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.entropy.double(), torch.special.entr(maps[name]).sum(-1), rtol=1e-4, atol=1e-4)


def table(diagonals: Tensor) -> Tensor:
    return diagonals.double()[:, torch.arange(N) - torch.arange(N)[:, None] + diagonals.shape[1] // 2]


def weights(module: Any, logit: Tensor) -> Tensor:
    """The equation of each rule, over logits (B, H, N, N)."""
    if isinstance(module, SigmoidAttention):
        level: Any = module.level
        return (logit + level).sigmoid()
    if isinstance(module, SlidingWindowAttention):
        far = (torch.arange(N) - torch.arange(N)[:, None]).abs() > module.window
        return logit.masked_fill(far, float("-inf")).softmax(-1)
    if isinstance(module, RelativeBiasAttention):
        return (logit + table(module.bias)).softmax(-1)
    if isinstance(module, UniversalRelativeAttention):
        return (logit + table(module.bias)).softmax(-1) * table(module.gain)
    return logit.softmax(-1)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    "module",
    [
        SoftmaxAttention(scale=0.3),
        SigmoidAttention(level=-1.0, scale=0.3),
        SlidingWindowAttention(window=2, scale=0.3),
        RelativeBiasAttention(heads=2, length=N, scale=0.3),
        UniversalRelativeAttention(heads=2, length=N, scale=0.3),
    ],
    ids=lambda m: type(m).__name__,
)
@torch.no_grad()
def test_each_known_rule_gives_the_sums_of_its_equation(module, named):
    for parameter in module.parameters():
        parameter.normal_()
    q, k, v = (torch.randn(1, 2, N, 8) for _ in range(3))
    bias = torch.randn(N, N)
    side = Side(bias=bias)
    with attention_statistics(module) as seen:
        module(q, k, v, side=side) if named else module(q, k, v, side)
    expected = weights(module, 0.3 * q.double() @ k.double().mT + bias)
    got: Any = seen[""][0].column_sums
    torch.testing.assert_close(got.double(), expected.sum(2), rtol=1e-4, atol=1e-4)


def test_attentions_that_cannot_be_observed_are_named():
    class Other(SoftmaxAttention):
        pass

    Other.__name__ = "OtherAttention"
    model = nn.ModuleDict({"a": SoftmaxAttention(), "b": Other(), "c": nn.MultiheadAttention(4, 2)})
    model["d"] = DiagonalAttention()
    with attention_statistics(model) as seen:
        assert list(seen) == ["a"]
        assert seen.unobserved == ("b", "c", "d")


def test_a_model_without_a_known_attention_raises_with_the_names_of_the_others():
    model = nn.ModuleDict({"other": nn.MultiheadAttention(4, 2)})
    with pytest.raises(ValueError, match="no attention whose rule is known; not observed: other"):
        attention_statistics(model).__enter__()
