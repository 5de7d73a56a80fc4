"""The positions ``convolutional`` against their equation, transformers' module, and what must not influence them."""

import math
from typing import Any

import pytest
import torch

from unimodal.positions.convolutional import Convolutional
from unimodal.side import Side


@pytest.mark.parametrize("kernel", [1, 4, 5])
@torch.no_grad()
def test_it_equals_the_equation(kernel):
    part: Any = Convolutional(6, kernel=kernel, groups=2).double()
    torch.nn.init.normal_(part.around.weight)
    torch.nn.init.normal_(part.around.bias)
    x = torch.randn(2, 7, 6, dtype=torch.float64)
    y = part(x)
    for b in range(2):
        for n in range(7):
            for d in range(6):
                group, total = d // 3, part.around.bias[d].item()
                for k in range(kernel):
                    m = n + k - kernel // 2
                    if 0 <= m < 7:
                        total += float(part.around.weight[d, :, k] @ x[b, m, 3 * group : 3 * group + 3])
                expected = x[b, n, d].item() + 0.5 * total * (1 + math.erf(total / math.sqrt(2)))
                assert abs(y[b, n, d].item() - expected) < 1e-12


@torch.no_grad()
def test_it_is_wav2vec2s():
    wav2vec2 = pytest.importorskip("transformers").models.wav2vec2.modeling_wav2vec2
    config = pytest.importorskip("transformers").Wav2Vec2Config(
        hidden_size=24, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4
    )
    theirs: Any = wav2vec2.Wav2Vec2PositionalConvEmbedding(config).eval()
    ours: Any = Convolutional(24, kernel=8, groups=4)
    ours.around.weight.copy_(theirs.conv.weight)
    ours.around.bias.copy_(theirs.conv.bias)
    x = torch.randn(2, 11, 24)
    torch.testing.assert_close(ours(x), x + theirs(x))


@torch.no_grad()
def test_other_sequences_padding_and_prefix_have_no_influence():
    part, side = Convolutional(16, kernel=6), Side(prefix=1, lengths=torch.tensor([4, 9]))
    x = torch.randn(2, 10, 16)
    y = part(x, side)
    changed = x.clone()
    changed[0, 4:], changed[:, 0], changed[1, 9:] = 9.0, 9.0, 9.0
    z = part(changed, side)
    assert torch.equal(z[0, 1:4], y[0, 1:4])
    assert torch.equal(z[1, 1:9], y[1, 1:9])
    assert torch.equal(y[:, 0], x[:, 0])


def test_causal_order_is_refused():
    with pytest.raises(ValueError, match="'causal' is set and not supported"):
        Convolutional(16)(torch.zeros(1, 3, 16), Side(causal=True))


def test_gradients_are_right():
    part = Convolutional(4, kernel=3, groups=2).double()
    x = torch.randn(1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(part, (x,))
