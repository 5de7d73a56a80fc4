"""The norm ``batch`` against its equation, torch's, and what must not influence it."""

import pytest
import torch

from unimodal.norms.batch import BatchNorm
from unimodal.side import Side
from unimodal.tokens import Tokens


def randomised(dim: int) -> BatchNorm:
    norm = BatchNorm(dim, eps=0.1).double()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        torch.nn.init.normal_(tensor)
    torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return norm


def test_it_equals_the_equation_in_training_and_in_use():
    norm, x = randomised(3), torch.randn(2, 5, 3, dtype=torch.float64)
    in_use, mean, var = norm.eval()(x), norm.running_mean.clone(), norm.running_var.clone()
    trained = norm.train()(x)
    for d in range(3):
        values = [x[b, n, d] for b in range(2) for n in range(5)]
        m = sum(values) / 10
        v = sum((value - m) ** 2 for value in values) / 10
        for b in range(2):
            for n in range(5):
                w, c = norm.weight[d], norm.bias[d]
                torch.testing.assert_close(in_use[b, n, d], (x[b, n, d] - mean[d]) / (var[d] + 0.1) ** 0.5 * w + c)
                torch.testing.assert_close(trained[b, n, d], (x[b, n, d] - m) / (v + 0.1) ** 0.5 * w + c)
        torch.testing.assert_close(norm.running_mean[d], 0.9 * mean[d] + 0.1 * m)
        torch.testing.assert_close(norm.running_var[d], 0.9 * var[d] + 0.1 * v * 10 / 9)


def test_it_is_torchs_batch_norm_over_steps_of_training():
    ours, theirs = BatchNorm(4), torch.nn.BatchNorm1d(4)
    for _ in range(5):
        x = torch.randn(3, 7, 4) * 3 + 1
        torch.testing.assert_close(ours(x), theirs(x.mT).mT)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    x = torch.randn(3, 7, 4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.mT).mT)


def test_padding_does_not_count_and_packed_is_padded():
    x, lengths = torch.randn(3, 6, 4), torch.tensor([6, 2, 4])
    outputs, averages = [], []
    padding = torch.arange(6) >= lengths[:, None]
    for filling in (0.0, 1e6):
        norm = BatchNorm(4).train()
        tokens = Tokens(x.masked_fill(padding[..., None], filling), Side(lengths=lengths))
        outputs.append(torch.cat(tokens.replace(norm(tokens.x, tokens.side)).split()))
        averages.append(norm.running_mean)
    packed, norm = Tokens(x, Side(lengths=lengths)).packed(), BatchNorm(4).train()
    assert torch.equal(*outputs)
    assert torch.equal(*averages)
    torch.testing.assert_close(norm(packed.x, packed.side)[0], outputs[0])


def test_in_use_the_rest_of_the_batch_does_not_matter():
    norm, x = randomised(4).eval(), torch.randn(3, 5, 4, dtype=torch.float64)
    assert torch.equal(norm(x)[0], norm(x[:1])[0])
    assert torch.equal(norm(x, Side(causal=True)), norm(x))


@pytest.mark.parametrize("side", [Side(causal=True), Side(mask=torch.ones(1, 1, 5, 5, dtype=torch.bool))])
def test_in_training_hidden_tokens_would_be_seen_so_it_is_refused(side):
    with pytest.raises(ValueError, match="'causal'|'mask'"):
        BatchNorm(4).train()(torch.randn(2, 5, 4), side)


def test_one_token_is_not_enough_to_train_on():
    with pytest.raises(ValueError, match="more than one token"):
        BatchNorm(4).train()(torch.randn(1, 1, 4))
