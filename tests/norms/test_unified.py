"""Unified norm against its equations over 60 steps of training, its gradient, and what padding must not do."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.norms.unified import UnifiedNorm
from unimodal.side import Side
from unimodal.tokens import Tokens


class Oracle:
    """The equations, a channel and a token at a time, on lists of floats."""

    def __init__(self, dim: int, window: int, warmup: int, filtered: bool, step: int) -> None:
        self.dim, self.window, self.warmup, self.filtered, self.step = dim, window, warmup, filtered, step
        self.squares = [[0.0] * dim for _ in range(window)]
        self.slopes = [[0.0] * dim for _ in range(window)]
        self.running, self.slope, self.outliers = [1.0] * dim, [0.0] * dim, 0

    def geometric(self, d: int) -> float:
        values = [row[d] for row in self.squares]
        return 0.0 if min(values) == 0.0 else math.exp(sum(map(math.log, values)) / self.window)

    def train(self, tokens: list[list[float]], weight: list[float], bias: list[float], grads: list[list[float]]) -> Any:
        """Outputs, and the gradients of the tokens, the weight and the bias."""
        self.step += 1
        channels, count, t, m = range(self.dim), len(tokens), self.step, self.window
        now = [sum(x[d] ** 2 for x in tokens) / count for d in channels]
        roots = [math.sqrt(s) for row in self.squares for s in row]
        mean = sum(roots) / len(roots)
        spread = sum((root - mean) ** 2 for root in roots) / (len(roots) - 1)
        self.squares[t % m] = now
        alone = m == 1
        if self.filtered and t >= self.warmup:
            excess = [sum(row[d] for row in self.squares) / m - self.geometric(d) for d in channels]
            if any(e > m * spread for e in excess):
                self.squares[t % m], alone = list(self.running), True
                self.outliers += 1
        early = t <= m or t < self.warmup
        v = now if early or alone else [self.geometric(d) for d in channels]
        rho = [1.0] * self.dim
        if t > max(1000, self.warmup) and not alone:
            rho = [math.sqrt((v[d] + 1e-5) / (self.running[d] + 1e-5)) for d in channels]
            rho = [min(max(value, 0.2), 5.0) for value in rho]
        self.running = [0.9 * self.running[d] + 0.1 * v[d] for d in channels]
        z = [[x[d] / math.sqrt(v[d] + 1e-5) for d in channels] for x in tokens]
        y = [[row[d] * weight[d] + bias[d] for d in channels] for row in z]
        g = [[row[d] * weight[d] * rho[d] for d in channels] for row in grads]
        psi = [sum(g[n][d] * z[n][d] for n in range(count)) / count for d in channels]
        self.slopes[t % m] = list(self.slope) if alone else psi
        smooth = psi if early or alone else [sum(row[d] for row in self.slopes) / m for d in channels]
        self.slope = [0.9 * self.slope[d] + 0.1 * smooth[d] for d in channels]
        drag = smooth if alone else self.slope
        of_x = [[(g[n][d] - drag[d] * z[n][d]) / math.sqrt(v[d] + 1e-5) for d in channels] for n in range(count)]
        of_weight = [sum(grads[n][d] * rho[d] * z[n][d] for n in range(count)) for d in channels]
        return y, of_x, of_weight, [sum(row[d] for row in grads) for d in channels]


def randomised(dim: int = 4, **settings: Any) -> UnifiedNorm:
    norm = UnifiedNorm(dim, **settings).double().train()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


@pytest.mark.parametrize("first", [0, 980])
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("window", [1, 3, 4])
def test_sixty_steps_with_outliers_and_padding_are_the_equations(window, filtered, first):
    norm, lengths = randomised(window=window, warmup=10, filtered=filtered), torch.tensor([5, 2, 4])
    oracle = Oracle(4, window, 10, filtered, first)
    norm.step.fill_(first)
    real = torch.arange(5) < lengths[:, None]
    for t in range(60):
        x = torch.randn(3, 5, 4, dtype=torch.float64) * (100.0 if t % 13 == 12 else 1.0)
        x = x.masked_fill(~real[..., None], 1e4).requires_grad_()
        grad = torch.randn(3, 5, 4, dtype=torch.float64).masked_fill(~real[..., None], 0.0)
        y = norm(x, Side(lengths=lengths))
        got = (y[real], *(t[real] if t.ndim == 3 else t for t in torch.autograd.grad(y, [x, *norm.parameters()], grad)))
        want = oracle.train(x[real].tolist(), norm.weight.tolist(), norm.bias.tolist(), grad[real].tolist())
        for a, b in zip(
            (*got, norm.running_square, norm.running_slope), (*want, oracle.running, oracle.slope), strict=True
        ):
            judge = torch.tensor(b, dtype=torch.float64)
            torch.testing.assert_close(a, judge, rtol=0, atol=1e-11 * max(1.0, judge.abs().max().item()))
        assert norm.outliers == oracle.outliers
    assert norm.step == first + 60
    assert (oracle.outliers > 0) == (filtered and window > 1)


def test_with_a_window_of_one_step_the_gradient_is_the_true_one():
    norm = randomised(window=1, warmup=0)
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), (x, *norm.parameters()))


def test_with_a_longer_window_it_is_not_although_warming_up_the_output_is():
    norm, x = randomised(), torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    y, probe = norm(x), torch.randn(2, 5, 4, dtype=torch.float64)
    true = x / (x.square().mean((0, 1)) + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(y, true, rtol=0, atol=1e-12)
    gap = torch.autograd.grad(y, x, probe)[0] - torch.autograd.grad(true, x, probe)[0]
    assert gap.abs().max() > 1e-2


def test_padding_has_no_influence_on_outputs_state_and_gradients():
    x, lengths, found = torch.randn(3, 6, 4), torch.tensor([6, 2, 4]), []
    padding = torch.arange(6) >= lengths[:, None]
    for filling in (0.0, 1e6):
        norm = UnifiedNorm(4).train()
        tokens = Tokens(x.masked_fill(padding[..., None], filling).requires_grad_(), Side(lengths=lengths))
        real = torch.cat(tokens.replace(norm(tokens.x, tokens.side)).split())
        real.sin().sum().backward()
        assert tokens.x.grad is not None
        assert not tokens.x.grad[padding].any()
        found.append((real, tokens.x.grad, norm.weight.grad, norm.running_square, norm.running_slope))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    packed, norm = Tokens(x, Side(lengths=lengths)).packed(), UnifiedNorm(4).train()
    torch.testing.assert_close(norm(packed.x, packed.side)[0], found[0][0])
    torch.testing.assert_close(norm.running_square, found[0][3])


def test_a_resumed_run_is_the_same_to_the_bit():
    first = randomised(warmup=3, filtered=True)
    batches = [torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True) for _ in range(12)]

    def train(norm: UnifiedNorm, x: Tensor) -> list[Tensor]:
        y = norm(x)
        return [y, *torch.autograd.grad(y.sin().sum(), [x, *norm.parameters()])]

    for x in batches[:6]:
        train(first, x)
    second = UnifiedNorm(4, warmup=3, filtered=True).double().train()
    second.load_state_dict(first.state_dict())
    for x in batches[6:]:
        assert all(torch.equal(a, b) for a, b in zip(train(first, x), train(second, x), strict=True))


def test_two_passes_before_their_backward_passes_each_keep_their_own_step():
    norm = randomised(window=2, warmup=0)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    passes = [norm(x), norm(2.0 * x)]
    for y in passes:
        y.sum().backward()
    assert norm.slopes.abs().min() > 0.0  # both places of the window were written


def test_in_use_it_is_one_factor_and_shift_and_the_rest_of_the_batch_does_not_matter():
    norm = randomised().eval()
    torch.nn.init.uniform_(norm.running_square, 0.5, 2.0)
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    factor, shift = norm.affine()
    want = x / (norm.running_square + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), want, rtol=0, atol=1e-12)
    torch.testing.assert_close(x * factor + shift, want, rtol=0, atol=1e-12)
    assert torch.equal(norm(x)[0], norm(x[:1])[0])
    assert torch.equal(norm(x, Side(causal=True)), norm(x))


@pytest.mark.parametrize("side", [Side(causal=True), Side(mask=torch.ones(1, 1, 5, 5, dtype=torch.bool))])
def test_in_training_hidden_tokens_would_be_seen_so_it_is_refused(side):
    with pytest.raises(ValueError, match="'causal'|'mask'"):
        UnifiedNorm(4).train()(torch.randn(2, 5, 4), side)


def test_no_real_token_is_not_enough_to_train_on():
    with pytest.raises(ValueError, match="needs a real token"):
        UnifiedNorm(4).train()(torch.randn(1, 3, 4), Side(lengths=torch.tensor([0])))


@pytest.mark.parametrize("settings", [{"window": 0}, {"window": (4, 0)}, {"warmup": -1}, {"decay": 1.0}])
def test_settings_that_make_no_average_are_refused(settings):
    with pytest.raises(ValueError, match="window must be positive, warmup not negative and decay in"):
        UnifiedNorm(4, **settings)
