"""The mean readout."""

import pytest
import torch

from unimodal.readouts.mean import Mean
from unimodal.side import Side
from unimodal.tokens import Tokens


@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
@pytest.mark.parametrize("layout", ["uniform", "padded", "packed"])
def test_it_averages_the_real_tokens_behind_the_prefix(layout, dtype, error):
    x, lengths = torch.randn(3, 257, 4).to(dtype), [257, 257, 257] if layout == "uniform" else [257, 3, 100]
    side = Side(prefix=2) if layout == "uniform" else Side(prefix=2, lengths=torch.tensor(lengths))
    tokens = Tokens(x, side).packed() if layout == "packed" else Tokens(x, side)
    z = Mean(4)(tokens)
    assert z.dtype == dtype
    for s, length in enumerate(lengths):
        expected = sum(x[s, n].double() for n in range(2, length)) / (length - 2)
        torch.testing.assert_close(z[s].double(), expected, rtol=error, atol=error)


def test_gradients_are_shared_out_evenly_and_reach_neither_prefix_nor_padding():
    x = torch.randn(1, 6, 2, requires_grad=True)
    Mean(2)(Tokens(x, Side(prefix=1, lengths=torch.tensor([5])))).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, :, 0], torch.tensor([0.0, 0.25, 0.25, 0.25, 0.25, 0.0]))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_raises(name):
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        Mean(4)(Tokens(torch.randn(1, 5, 4), Side().replace(**{name: torch.ones(5, 5).bool()})))
