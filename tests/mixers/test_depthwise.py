"""Depth-wise convolution: its equation in loops, torch's, prefix tokens, and a norm that goes into it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.side import Side


def randomised(dim: int, **options: Any) -> Any:
    mixer = Depthwise(dim, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter)
    return mixer


def test_a_channel_is_the_equations_sum_over_its_own_neighbours():
    mixer, x = randomised(2, kernel=3, dilation=2), torch.randn(1, 20, 2, dtype=torch.float64)
    y, cells = mixer(x, Side(grid=(4, 5))).unflatten(1, (4, 5)), x.unflatten(1, (4, 5))
    for d in range(2):
        for i in range(4):
            for j in range(5):
                total = mixer.bias[d]
                for u in (-1, 0, 1):
                    for v in (-1, 0, 1):
                        a, b = i + 2 * u, j + 2 * v
                        if 0 <= a < 4 and 0 <= b < 5:
                            total = total + mixer.weight[d, 0, u + 1, v + 1] * cells[0, a, b, d]
                torch.testing.assert_close(y[0, i, j, d], total)


@pytest.mark.parametrize("kernel, dilation", [(1, 1), (5, 1), (13, 1), (3, 5)])
def test_it_is_torchs_grouped_convolution(kernel, dilation):
    mixer, x = randomised(3, kernel=kernel, dilation=dilation), torch.randn(2, 63, 3, dtype=torch.float64)
    padding = dilation * (kernel // 2)
    expected = F.conv2d(
        x.mT.unflatten(-1, (7, 9)), mixer.weight, mixer.bias, padding=padding, dilation=dilation, groups=3
    )
    torch.testing.assert_close(mixer(x, Side(grid=(7, 9))), expected.flatten(2).mT)


def test_prefix_tokens_get_the_bias_alone_and_give_nothing():
    mixer, x = randomised(3), torch.randn(1, 8, 3, dtype=torch.float64)
    y = mixer(x, Side(grid=(2, 3), prefix=2))
    assert torch.equal(y[:, :2], mixer.bias.expand(1, 2, 3))
    assert torch.equal(y[:, 2:], mixer(x[:, 2:], Side(grid=(2, 3))))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", [0, 2])
def test_a_batch_norm_in_use_goes_into_the_kernel_exactly(bias, prefix):
    mixer, norm = randomised(3, bias=bias), BatchNorm(3).double().eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        torch.nn.init.normal_(tensor)
    torch.nn.init.uniform_(norm.running_var, 0.2, 3.0)
    x, side = torch.randn(2, 6 + prefix, 3, dtype=torch.float64), Side(grid=(2, 3), prefix=prefix)
    folded = mixer.scaled(*norm.affine())
    torch.testing.assert_close(folded(x, side), norm(mixer(x, side), side), rtol=0, atol=1e-13)
    assert folded.bias is not None


def test_the_gradient_is_the_equations():
    mixer = randomised(2, kernel=3)
    x = torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: mixer(t, Side(grid=(2, 3))), x)


@pytest.mark.parametrize("kernel", [0, 4, -3])
def test_a_kernel_without_a_middle_is_refused(kernel):
    with pytest.raises(ValueError, match="kernel must be odd and positive"):
        Depthwise(4, kernel=kernel)


def test_a_dilation_of_zero_is_refused():
    with pytest.raises(ValueError, match="dilation must be positive, not 0"):
        Depthwise(4, dilation=0)


def test_a_lattice_of_other_than_two_axes_is_refused():
    with pytest.raises(ValueError, match="two axes is needed here, not \\(6,\\)"):
        Depthwise(4)(torch.randn(1, 6, 4), Side(grid=(6,)))


@pytest.mark.parametrize("constraint", [{"mask": torch.ones(1, 1, 6, 6, dtype=torch.bool)}, {"causal": True}])
def test_a_mask_or_an_order_is_refused(constraint):
    with pytest.raises(ValueError, match=next(iter(constraint))):
        Depthwise(4)(torch.randn(1, 6, 4), Side(grid=(2, 3), **constraint))


def test_a_kernel_of_three_axes_convolves_clips():
    mixer, x = randomised(3, kernel=(3, 5, 1)), torch.randn(2, 4 * 5 * 6, 3, dtype=torch.float64)
    map_out = F.conv3d(x.mT.unflatten(-1, (4, 5, 6)), mixer.weight, mixer.bias, padding=(1, 2, 0), groups=3)
    torch.testing.assert_close(mixer(x, Side(grid=(4, 5, 6))), map_out.flatten(2).mT)
    with pytest.raises(ValueError, match="three axes is needed here, not \\(4, 30\\)"):
        mixer(x, Side(grid=(4, 30)))


@pytest.mark.parametrize("kernel", [(3,), (3, 3, 3, 3)])
def test_a_kernel_of_other_axes_is_refused(kernel):
    with pytest.raises(ValueError, match="two axes or three"):
        Depthwise(4, kernel=kernel)
