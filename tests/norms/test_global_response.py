"""The global response norm against its equation, timm's, and what must not influence a sequence."""

from typing import Any

import pytest
import torch

from unimodal.norms.global_response import GlobalResponseNorm
from unimodal.side import Side
from unimodal.tokens import Tokens


def randomised(dim: int, **options: Any) -> Any:
    norm = GlobalResponseNorm(dim, **options).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


def test_it_is_the_equation():
    norm, x = randomised(3), torch.randn(2, 5, 3, dtype=torch.float64)
    y = norm(x)
    for b in range(2):
        lengths = [sum(x[b, n, d] ** 2 for n in range(5)) ** 0.5 for d in range(3)]
        mean = sum(lengths) / 3
        for d in range(3):
            for n in range(5):
                expected = (norm.weight[d] * lengths[d] / (mean + 1e-6) + 1) * x[b, n, d] + norm.bias[d]
                torch.testing.assert_close(y[b, n, d], expected)


def test_it_is_timms_on_maps():
    theirs = pytest.importorskip("timm.layers.grn").GlobalResponseNorm(5, channels_last=True).double()
    norm, x = randomised(5), torch.randn(2, 4, 7, 5, dtype=torch.float64)
    theirs.load_state_dict(norm.state_dict())
    torch.testing.assert_close(norm(x.flatten(1, 2)), theirs(x).flatten(1, 2), rtol=0, atol=1e-14)


def test_at_the_start_it_changes_nothing():
    x = torch.randn(2, 5, 3)
    assert torch.equal(GlobalResponseNorm(3)(x), x)


def test_a_channel_alone_is_scaled_by_the_number_of_channels():
    norm, x = GlobalResponseNorm(4, eps=0.0), torch.zeros(1, 5, 4)
    torch.nn.init.ones_(norm.weight)
    x[..., 2] = torch.randn(5)
    torch.testing.assert_close(norm(x)[..., 2], 5 * x[..., 2])


def test_an_empty_picture_has_finite_gradients():
    norm, x = randomised(4), torch.zeros(1, 6, 4, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(norm(x).sum(), [x, *norm.parameters()])
    assert all(slope.isfinite().all() for slope in slopes)


def test_the_gradient_is_the_equations():
    norm, x = randomised(3), torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)


def test_padding_has_no_influence_and_packed_is_padded():
    norm, x, lengths = randomised(4), torch.randn(3, 6, 4, dtype=torch.float64), torch.tensor([6, 2, 4])
    tokens = Tokens(x, Side(lengths=lengths))
    rows = tokens.replace(norm(x, tokens.side)).split()
    changed = x.clone()
    changed[1, 2:] += 7.0
    assert torch.equal(norm(changed, tokens.side)[1, :2], rows[1])
    packed = tokens.packed()
    torch.testing.assert_close(norm(packed.x, packed.side)[0], torch.cat(rows))


def test_its_additive_term_comes_apart():
    norm, x = randomised(3), torch.randn(2, 5, 3, dtype=torch.float64)
    plain, shift = norm.unshifted()
    assert plain.bias is None
    torch.testing.assert_close(plain(x) + shift, norm(x))


@pytest.mark.parametrize("constraint", [{"mask": torch.ones(1, 1, 3, 3, dtype=torch.bool)}, {"causal": True}])
def test_a_mask_or_an_order_is_refused(constraint):
    with pytest.raises(ValueError, match=next(iter(constraint))):
        GlobalResponseNorm(4)(torch.randn(1, 3, 4), Side(**constraint))
