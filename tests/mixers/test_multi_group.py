"""The multi-group map: its sum, its one map for use with every set of branches, prefix tokens, refusals."""

from typing import Any

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from unimodal.chain import Chain
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.mixers.convolution import Convolution
from unimodal.mixers.multi_group import MultiGroup
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.reparameterize import reparameterize
from unimodal.residual import Residual
from unimodal.side import Side

GRID = Side(grid=(3, 4))
ALL = tuple((kernel, groups) for kernel in (1, 3) for groups in (1, 2, 4, 8))


def trained(module: Any) -> Any:
    """With statistics, factors and shifts of any size."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    for name, buffer in module.named_buffers():
        nn.init.uniform_(buffer, 0.5, 2.0) if name.endswith("var") else nn.init.normal_(buffer)
    return module.eval()


def test_it_is_the_sum_of_normed_convolutions_and_the_normed_tokens():
    mixer = trained(MultiGroup(8, branches=((3, 2), (1, 1)), identity=True).double())
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    map_BDYX = x.mT.unflatten(-1, (3, 4))
    expected = torch.zeros(())
    outputs = [F.conv2d(map_BDYX, c.weight, padding=c.kernel // 2, groups=c.groups) for c in mixer.convolutions]
    for y, norm in zip((*outputs, map_BDYX), (*mixer.norms, mixer.norm_identity), strict=True):
        expected = expected + F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    torch.testing.assert_close(mixer(x, GRID), expected.flatten(2).mT)


@pytest.mark.parametrize("identity", [False, True])
@pytest.mark.parametrize("branches", [ALL, ((1, 1), (1, 2), (1, 8)), ((3, 4), (1, 2)), ((1, 4), (1, 8)), ((3, 1),)])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_in_use_it_is_one_map(branches, identity, dtype, tolerance):
    mixer = trained(MultiGroup(16, branches=branches, identity=identity).to(dtype))
    made: Any = reparameterize(mixer)
    dense = max(kernel for kernel, _ in branches) == 1
    assert isinstance(made, Linear if dense else Convolution)
    assert dense or made.groups == min(g for _, g in branches)
    for side in (GRID, Side(grid=(2, 5), prefix=2)):
        x = torch.randn(2, 12, 16, dtype=dtype)
        found, wanted = made(x, side), mixer(x, side)
        torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * wanted.abs().max().item())
    if (3, 1) in branches or (1, 1) in branches:
        assert sum(p.numel() for p in made.parameters()) < sum(p.numel() for p in mixer.parameters())
    with pytest.raises(ValueError, match="no part of the model has another form"):
        reparameterize(made)


def test_other_widths_and_a_norm_in_front_fold_too():
    ffn = Part(
        Chain, parts=(Part(MultiGroup, width=24), Part(Activated), Part(MultiGroup, width=8, branches=((1, 1), (1, 8))))
    )
    block = trained(Residual(8, branch=(Part(BatchNorm), ffn)).double())
    made: Any = reparameterize(block)
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    torch.testing.assert_close(made(x), block(x), rtol=1e-10, atol=1e-10)
    kinds = [type(m) for m in made.modules() if not list(m.children())]
    assert kinds == [nn.Linear, Activated, nn.Linear]


def test_training_moves_the_statistics_and_every_parameter():
    mixer: Any = MultiGroup(8, branches=((3, 2), (1, 1)), identity=True).train()
    weights = torch.randn(2, 12, 8)
    (mixer(torch.randn(2, 12, 8), GRID) * weights).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in mixer.parameters())
    assert all((norm.running_mean != 0).any() for norm in mixer.norms)
    with pytest.raises(ValueError, match="training mode"):
        reparameterize(mixer)


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"branches": ()}, "branches must have at least one pair"),
        ({"identity": True, "width": 16}, "identity needs one width on both sides, not 8 and 16"),
        ({"branches": ((2, 1),)}, "kernel must be odd"),
        ({"branches": ((1, 3),)}, "groups must divide"),
    ],
)
def test_what_does_not_fit_is_refused(options, cause):
    with pytest.raises(ValueError, match=cause):
        MultiGroup(8, **options)
