"""The summed kernel: every set of branches in one convolution, and zeros where none of them looks."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.summed_kernel import Branch, summed_kernel


def branch(groups: int, kernel: int, dilation: int = 1) -> Branch:
    weight = torch.randn(16, 8 // groups, kernel, kernel, dtype=torch.float64)
    return Branch(weight, (torch.randn(16).double(), torch.randn(16).double()), groups, dilation)


def outputs(x: torch.Tensor, branches: list[Branch], stride: int) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for b in branches:
        reach = b.dilation * (b.weight.shape[-1] // 2)
        y = F.conv2d(x, b.weight, stride=stride, padding=reach, dilation=b.dilation, groups=b.groups)
        total = total + y * b.affine[0][:, None, None] + b.affine[1][:, None, None]
    return total


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_one_convolution_gives_what_all_give_together(groups, stride):
    torch.manual_seed(0)
    branches = [branch(g, k) for g in (1, 2, 4, 8) for k in (1, 3) if not g % groups] + [branch(2, 3, 2)]
    weight, bias = summed_kernel(branches, kernel=5, groups=groups)
    assert weight.shape == (16, 8 // groups, 5, 5)
    x = torch.randn(2, 8, 7, 10, dtype=torch.float64)
    made = F.conv2d(x, weight, bias, stride=stride, padding=2, groups=groups)
    torch.testing.assert_close(made, outputs(x, branches, stride), rtol=0, atol=1e-10)


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_a_branch_of_groups_is_zero_off_its_blocks(groups):
    weight, _ = summed_kernel([branch(groups, 3)], kernel=3)
    block = torch.block_diag(*torch.ones(groups, 16 // groups, 8 // groups)).bool()
    assert torch.equal(weight[~block], torch.zeros_like(weight[~block]))
    assert (weight[block] != 0).all()


def test_a_smaller_or_dilated_kernel_is_zero_where_it_does_not_look():
    weight, _ = summed_kernel([branch(1, 1)], kernel=3)
    assert (weight != 0).sum() == 16 * 8
    weight, _ = summed_kernel([branch(1, 3, 2)], kernel=5)
    assert (weight[..., ::2, ::2] != 0).all()
    assert (weight != 0).sum() == 16 * 8 * 9
