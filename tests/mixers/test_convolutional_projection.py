"""Convolutional projection: the paper's equation in loops, the class token, keys, cost, the fold, refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixers.convolutional_projection import ConvolutionalProjection
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.reparameterize import reparameterize
from unimodal.side import Side


def randomised(**options: Any) -> Any:
    mixer = ConvolutionalProjection(6, heads=2, **options).double().eval()
    for name, tensor in (*mixer.named_parameters(), *mixer.named_buffers()):
        torch.nn.init.uniform_(tensor, 0.5, 1.5) if "var" in name else torch.nn.init.normal_(tensor, std=0.5)
    return mixer


def around(x_YXD: Tensor, convolution: Any, norm: Any, stride: int) -> list[Tensor]:
    """The normed convolution at every ``stride``-th cell, one cell and one neighbour at a time."""
    rows, columns, _ = x_YXD.shape
    out = []
    for i in range(0, rows, stride):
        for j in range(0, columns, stride):
            total = torch.zeros(6, dtype=torch.float64)
            for a in range(-1, 2):
                for b in range(-1, 2):
                    if 0 <= i + a < rows and 0 <= j + b < columns:
                        total = total + convolution.weight[:, 0, a + 1, b + 1] * x_YXD[i + a, j + b]
            z = (total - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
            out.append(z * norm.weight + norm.bias)
    return out


def in_loops(mixer: Any, x_ND: Tensor, prefix: int, grid: tuple[int, int], stride: int, scale: float) -> Tensor:
    ahead, x_YXD = list(x_ND[:prefix]), x_ND[prefix:].unflatten(0, grid)
    of_q = ahead + around(x_YXD, mixer.around_q.parts[0], mixer.around_q.parts[1], 1)
    of_k = ahead + around(x_YXD, mixer.around_k.convolution, mixer.around_k.behind, stride)
    of_v = ahead + around(x_YXD, mixer.around_v.convolution, mixer.around_v.behind, stride)
    out = []
    for h_D in of_q:
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            q = mixer.to_q(h_D)[head]
            weights = torch.stack([scale * q @ mixer.to_k(k)[head] for k in of_k]).softmax(0)
            heads.append(weights @ torch.stack([mixer.to_v(v)[head] for v in of_v]))
        out.append(mixer.to_out(torch.cat(heads)))
    return torch.stack(out)


@pytest.mark.parametrize("prefix, grid, stride", [(1, (4, 4), 2), (0, (5, 3), 2), (2, (3, 4), 1)])
@pytest.mark.parametrize("scale", [None, 6**-0.5])
def test_it_is_the_equation_in_loops(prefix, grid, stride, scale):
    mixer = randomised(key_stride=stride, attention=Part(SoftmaxAttention, scale=scale))
    x = torch.randn(1, prefix + grid[0] * grid[1], 6).double()
    wanted = in_loops(mixer, x[0], prefix, grid, stride, 3**-0.5 if scale is None else scale)
    torch.testing.assert_close(mixer(x, Side(grid=grid, prefix=prefix))[0], wanted, rtol=0, atol=1e-12)


def test_the_class_token_has_no_part_in_the_convolutions():
    mixer, x = randomised(), torch.randn(1, 13, 6).double()
    seen: list[Tensor] = []
    for around in (mixer.around_q, mixer.around_k, mixer.around_v):
        around.register_forward_hook(lambda _, given, out: seen.append(getattr(out, "x", out)))
    for value in (0.0, 1.0):
        x[:, 0] += value
        mixer(x, Side(grid=(3, 4), prefix=1))
    assert [tuple(h.shape[1:]) for h in seen[:3]] == [(12, 6), (4, 6), (4, 6)]
    assert all(torch.equal(a, b) for a, b in zip(seen[:3], seen[3:], strict=True))


def products(key_stride: int) -> float:
    """Multiply-adds of the attention's two products at 28 x 28 cells and width 64: all, less those of the maps."""
    cells, keys, width = 28**2, (28 // key_stride) ** 2, 64
    maps = (2 * cells + 2 * keys) * width**2 + 9 * (cells + 2 * keys) * width
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        mixer = ConvolutionalProjection(width, heads=1, key_stride=key_stride).eval()
        mixer(torch.zeros(1, cells, width), Side(grid=(28, 28)))
    return counter.get_total_flops() / 2 - maps


def test_keys_at_every_other_cell_make_attention_cost_a_quarter():
    assert (products(1), products(2)) == (2 * 784 * 784 * 64, 2 * 784 * 196 * 64)


def test_the_deployed_form_has_the_norms_in_its_convolutions():
    mixer, x = randomised(), torch.randn(2, 21, 6).double()
    deployed: Any = reparameterize(mixer)
    assert not any(isinstance(m, BatchNorm) for m in deployed.modules())
    side = Side(grid=(5, 4), prefix=1)
    torch.testing.assert_close(deployed(x, side), mixer(x, side), rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences_while_training():
    mixer, x = randomised().train(), torch.randn(2, 7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixer(x, Side(grid=(2, 3), prefix=1)), x)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"heads": 4}, "dim 6 is not a multiple of heads 4"),
        ({"heads": 2, "kernel": 2}, "kernel must be odd"),
        ({"heads": 2, "key_stride": 0}, "key_stride must be positive, not 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ConvolutionalProjection(6, **options)


@pytest.mark.parametrize(
    "side, said", [({}, "side.grid"), ({"grid": (6,)}, "two axes"), ({"grid": (2, 3), "causal": True}, "causal")]
)
def test_tokens_off_a_lattice_and_an_order_are_refused(side, said):
    with pytest.raises(ValueError, match=said):
        randomised()(torch.randn(1, 6, 6).double(), Side(**side))
