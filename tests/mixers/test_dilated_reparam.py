"""The dilated reparameterisation: every set of the paper, each branch against torch's dilated convolution, the fold."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.dilated_reparam import BRANCHES, DilatedReparam
from unimodal.side import Side

# K: (k, r) as the paper's code lists them.
SETS = {
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    7: ((5, 1), (3, 2), (3, 3)),
    5: ((3, 1), (3, 2)),
}


def randomised(dim: int, kernel: int, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    mixer: Any = DilatedReparam(dim, kernel=kernel, **options).eval()
    for convolution, norm in zip(mixer.convolutions, mixer.norms, strict=True):
        torch.nn.init.normal_(convolution.weight, std=0.3)
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            torch.nn.init.normal_(tensor)
        torch.nn.init.uniform_(norm.running_var, 0.3, 3.0)
    return mixer.to(dtype)


def test_the_sets_are_the_papers_and_every_branch_fits_into_its_kernel():
    assert dict(BRANCHES) == SETS
    for kernel, pairs in SETS.items():
        assert all(r * (k - 1) + 1 <= kernel for k, r in pairs)
        mixer = DilatedReparam(2, kernel=kernel)
        assert [(c.kernel, c.dilation) for c in mixer.convolutions] == [(kernel, 1), *pairs]
        assert all(c.bias is None for c in mixer.convolutions)


@pytest.mark.parametrize("kernel", SETS)
def test_the_output_is_the_sum_of_normed_dilated_convolutions(kernel):
    mixer, x = randomised(2, kernel), torch.randn(1, 2, 9, 11, dtype=torch.float64)
    expected = torch.zeros_like(x)
    for (k, r), convolution, norm in zip(((kernel, 1), *SETS[kernel]), mixer.convolutions, mixer.norms, strict=True):
        h = F.conv2d(x, convolution.weight, padding=r * (k - 1) // 2, dilation=r, groups=2)
        expected = expected + F.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)
    torch.testing.assert_close(mixer(x.flatten(2).mT, Side(grid=(9, 11))), expected.flatten(2).mT)


@pytest.mark.parametrize("kernel, small, dilation", [(K, k, r) for K, pairs in SETS.items() for k, r in pairs])
def test_each_branch_folds_into_its_sparse_places_of_the_large_kernel(kernel, small, dilation):
    mixer = randomised(2, kernel, branches=((small, dilation),))
    torch.nn.init.zeros_(mixer.convolutions[0].weight)
    folded, factor = mixer.deployed(), mixer.norms[1].affine()[0]
    seen = torch.zeros(kernel, kernel, dtype=torch.bool)
    for i in range(small):
        for j in range(small):
            at = kernel // 2 + dilation * (i - small // 2), kernel // 2 + dilation * (j - small // 2)
            seen[at] = True
            expected = mixer.convolutions[1].weight[:, 0, i, j] * factor
            torch.testing.assert_close(folded.weight[(slice(None), 0, *at)], expected)
    assert not folded.weight[:, :, ~seen].any()
    x = torch.randn(1, 2, 19, 8, dtype=torch.float64)
    ours = F.conv2d(x, folded.weight, padding=kernel // 2, groups=2)
    padding = dilation * (small - 1) // 2
    theirs = F.conv2d(x, mixer.convolutions[1].weight, padding=padding, dilation=dilation, groups=2)
    torch.testing.assert_close(ours, theirs * factor[:, None, None], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", SETS)
@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_deployed_form_has_the_same_outputs(kernel, dtype, most):
    mixer, side = randomised(3, kernel, dtype), Side(grid=(6, 9), prefix=1)
    x, deployed = torch.randn(2, 55, 3, dtype=dtype), mixer.deployed()
    assert isinstance(deployed, Depthwise)
    expected = mixer(x, side).detach()
    torch.testing.assert_close(deployed(x, side), expected, rtol=0, atol=most * max(1.0, float(expected.abs().max())))
    assert sum(p.numel() for p in deployed.parameters()) == 3 * (kernel**2 + 1)


def test_training_reads_the_batch_and_use_reads_the_running_averages():
    mixer, side = randomised(3, 5), Side(grid=(4, 5))
    x = torch.randn(2, 20, 3, dtype=torch.float64)
    in_use = mixer(x, side)
    assert not torch.allclose(mixer.train()(x, side), in_use)
    changed = mixer.eval()(x, side)
    assert not torch.allclose(changed, in_use)
    torch.testing.assert_close(mixer.deployed()(x, side), changed)


def test_every_branch_is_trained():
    mixer = DilatedReparam(3, kernel=13).train()
    mixer(torch.randn(2, 30, 3), Side(grid=(5, 6))).square().sum().backward()
    for parameter in mixer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_a_token_is_seen_as_far_as_the_kernel_reaches_and_no_further():
    mixer = randomised(1, 5)
    x = torch.randn(1, 81, 1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mixer(x, Side(grid=(9, 9)))[0, 40].sum(), x)
    seen = slope.view(9, 9) != 0
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[2:7, 2:7] = True
    assert torch.equal(seen, expected)


def test_a_kernel_without_branches_of_the_paper_needs_them_given():
    with pytest.raises(ValueError, match="5, 7, 9, 11, 13, 15, 17, not 3: give branches"):
        DilatedReparam(4, kernel=3)


def test_a_branch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="5 cells with dilation 3 does not fit into kernel=11"):
        DilatedReparam(4, kernel=11, branches=((5, 3),))


def test_a_branch_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="must be odd"):
        DilatedReparam(4, kernel=11, branches=((4, 2),))
