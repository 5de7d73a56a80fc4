"""Multi-group downsampling: the sum of strided convolutions, its one convolution for use, refusals."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.downsampling import Downsampling
from unimodal.multi_group_downsampling import MultiGroupDownsampling
from unimodal.part import Part
from unimodal.reparameterize import reparameterize
from unimodal.side import Side
from unimodal.tokens import Tokens

ALL = tuple((kernel, groups) for kernel in (1, 3) for groups in (1, 2, 4, 8))


@pytest.mark.parametrize("sizes", [(6, 8), (5, 7)])
@pytest.mark.parametrize("branches", [ALL, ((3, 4), (1, 8)), ((1, 1), (1, 2))])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_in_use_all_strided_branches_are_one_convolution(branches, sizes, dtype, tolerance):
    torch.manual_seed(0)
    part: Any = MultiGroupDownsampling(8, width=16, branches=branches).to(dtype).eval()
    for tensor in part.parameters():
        nn.init.normal_(tensor)
    for name, tensor in part.named_buffers():
        nn.init.uniform_(tensor, 0.5, 2.0) if name.endswith("var") else nn.init.normal_(tensor)
    made: Any = reparameterize(part)
    assert isinstance(made, Downsampling)
    tokens = Tokens(torch.randn(2, sizes[0] * sizes[1], 8, dtype=dtype), Side(grid=sizes))
    found, wanted = made(tokens), part(tokens)
    assert found.side.grid == wanted.side.grid == tuple(-(-n // 2) for n in sizes)
    assert (part.width, part.stride) == (made.width, made.stride) == (16, 2)
    assert made.behind is None
    for other in (found, part.deployed()(tokens)):
        torch.testing.assert_close(other.x, wanted.x, rtol=0, atol=tolerance * wanted.x.abs().max().item())


def test_it_is_the_sum_of_its_branches():
    part: Any = MultiGroupDownsampling(8, width=8).eval()
    tokens = Tokens(torch.randn(1, 20, 8), Side(grid=(4, 5)))
    torch.testing.assert_close(part(tokens).x, sum(branch(tokens).x for branch in part.branches))


def test_it_round_trips():
    part = Part(MultiGroupDownsampling, width=8, branches=((3, 2),))
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize("branches", [(), ((2, 1),)])
def test_no_branches_and_even_kernels_are_refused(branches):
    with pytest.raises(ValueError, match="branches must be pairs of an odd kernel and groups, at least one, not"):
        MultiGroupDownsampling(8, width=8, branches=branches)
