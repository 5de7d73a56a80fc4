"""Mixed depth-wise convolution: torch's convolutions of the groups, reach, gradients and refusals."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.mixed_depthwise import MixedDepthwise
from unimodal.side import Side


def randomised(dim: int, **options: Any) -> Any:
    mixer = MixedDepthwise(dim, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter)
    return mixer


def test_each_group_is_torchs_convolution_of_its_own_kernel():
    mixer, x = randomised(6, kernels=(1, 3, 5)), torch.randn(2, 35, 6, dtype=torch.float64)
    map_ = x.mT.unflatten(-1, (5, 7))
    expected = [
        F.conv2d(part, group.weight, group.bias, padding=group.kernel // 2, groups=2)
        for part, group in zip(map_.chunk(3, 1), mixer.groups, strict=True)
    ]
    torch.testing.assert_close(mixer(x, Side(grid=(5, 7))), torch.cat(expected, 1).flatten(2).mT)


def test_one_kernel_is_the_depthwise_convolution():
    mixer, x = randomised(4, kernels=(3,)), torch.randn(1, 6, 4, dtype=torch.float64)
    single = Depthwise(4).double()
    single.load_state_dict(mixer.groups[0].state_dict())
    torch.testing.assert_close(mixer(x, Side(grid=(2, 3))), single(x, Side(grid=(2, 3))))


def test_a_cell_two_away_moves_the_half_with_the_larger_kernel_only():
    mixer, x = randomised(4), torch.randn(1, 25, 4, dtype=torch.float64)
    other = x.clone()
    other[:, 0] += 1.0
    before, after = (mixer(t, Side(grid=(5, 5))).unflatten(1, (5, 5))[0, 2, 2] for t in (x, other))
    assert torch.equal(before[:2], after[:2])
    assert not torch.isclose(before[2:], after[2:]).any()


def test_the_gradient_is_the_equations():
    mixer, x = randomised(2), torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: mixer(t, Side(grid=(2, 3))), x)


@pytest.mark.parametrize("kernels", [(), (3, 5, 7)])
def test_groups_that_do_not_divide_the_channels_are_refused(kernels):
    with pytest.raises(ValueError, match="as many as equal parts of 4 channels"):
        MixedDepthwise(4, kernels=kernels)
