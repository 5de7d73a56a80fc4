"""Attention within a window: both forms against the reference, and which one is taken."""

from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.kernels.rule import Rule
from unimodal.kernels.window_attention import WIDE, choose, reference, window_attention


def leaves(tokens=70, keys: int | None = None, learns=False) -> tuple[Tensor, Tensor, Tensor]:
    def of(n: int) -> Tensor:
        return torch.randn(2, 4, n, 8, dtype=torch.float64, requires_grad=learns)

    return of(tokens), of(keys or tokens), of(keys or tokens)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [0, 3, 20, 300])
@pytest.mark.parametrize("tokens, keys", [(70, 70), (1, 70), (70, 40), (0, 4), (600, 600)])
def test_it_equals_the_reference(tokens, keys, window, causal, learns):
    qkv = leaves(tokens, keys, learns=learns)
    expected = reference(*qkv, Rule(window=window, causal=causal))
    got = window_attention(*qkv, window, causal=causal, implementation="require")
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("learns", [False, True])
def test_terms_and_scale_reach_either_form(learns):
    qkv = leaves(learns=learns)
    terms: dict[str, Any] = {
        "mask": torch.rand(70, 70) < 0.7,
        "bias": torch.randn(70, 70).double(),
        "lengths": torch.tensor([70, 31]),
    }
    expected = reference(*qkv, Rule(window=9, scale=0.1), **terms)
    torch.testing.assert_close(window_attention(*qkv, 9, scale=0.1, **terms), expected, rtol=0, atol=1e-10)


def test_gradients_come_from_tiles_and_wide_windows_too():
    assert choose(*leaves(), 9).implementation.startswith("strips in torch")
    assert choose(*leaves(learns=True), 9).implementation == "tiles in torch"
    assert choose(*leaves(), WIDE + 1).reason == "the window is wider than 256"
    assert choose(*leaves(learns=True), 9, implementation="reference").implementation == "reference"
    with torch.no_grad():
        assert choose(*leaves(learns=True), 9).implementation.startswith("strips")


@pytest.mark.parametrize("learns", [False, True])
def test_demanding_a_fast_form_where_none_can_run_raises_with_the_reason(learns):
    q, k, v = leaves(learns=learns)
    with pytest.raises(RuntimeError, match="cannot run: q, k and v have different dtypes"):
        window_attention(q.float(), k, v, 3, implementation="require")


def test_a_negative_window_raises():
    with pytest.raises(ValueError, match="window is a distance in tokens, at least 0, not -1"):
        window_attention(*leaves(), -1)
