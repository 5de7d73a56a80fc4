"""The convolution of the values: its loops, its start, its heads, its edges."""

import pytest
import torch

from unimodal.attention.local_values import LocalValues
from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.part import Part
from unimodal.side import Side


def heads(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def built(width: int, **more) -> LocalValues:
    part = LocalValues(width=width, **more).double()
    with torch.no_grad():
        part.around.weight.normal_()
        part.around.bias.normal_()  # pyright: ignore[reportOptionalMemberAccess]
    return part


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_it_adds_a_convolution_in_loops_with_zeros_around_the_lattice_and_nothing_for_the_prefix(kernel: int):
    rows, columns, prefix, part = 3, 4, 2, built(5, kernel=kernel)
    q, k, v = (heads(2, 3, prefix + rows * columns, 5) for _ in range(3))
    side, half = Side(grid=(rows, columns), prefix=prefix), kernel // 2
    wanted = SoftmaxAttention()(q, k, v, side).clone()
    weight, bias = part.around.weight.detach(), part.around.bias.detach()  # pyright: ignore[reportOptionalMemberAccess]
    for y in range(rows):
        for x in range(columns):
            total = bias.expand(2, 3, 5).clone()
            for dy in range(-half, half + 1):
                for dx in range(-half, half + 1):
                    if 0 <= y + dy < rows and 0 <= x + dx < columns:
                        cell = v[:, :, prefix + (y + dy) * columns + x + dx]
                        total += weight[:, 0, dy + half, dx + half] * cell
            wanted[:, :, prefix + y * columns + x] += total
    torch.testing.assert_close(part(q, k, v, side), wanted, rtol=0, atol=1e-12)


def test_it_starts_as_the_attention_rule_alone():
    q, k, v = (heads(1, 2, 6, 4) for _ in range(3))
    side = Side(grid=(2, 3))
    for rule in (Part(SoftmaxAttention), Part(SigmoidAttention)):
        assert torch.equal(LocalValues(width=4, attention=rule).double()(q, k, v, side), rule()(q, k, v, side))


def test_query_heads_of_one_key_head_get_the_same_local_values():
    q, k, v, side = heads(1, 4, 6, 4), heads(1, 2, 6, 4), heads(1, 2, 6, 4), Side(grid=(2, 3))
    part = built(4)
    repeated = [t.repeat_interleave(2, 1) for t in (k, v)]
    torch.testing.assert_close(part(q, k, v, side), part(q, *repeated, side), rtol=0, atol=1e-12)


def test_every_head_has_the_same_filter():
    assert sum(p.numel() for p in LocalValues(width=64).parameters()) == 640


def test_wrong_sizes_and_lattices_raise():
    q = heads(1, 2, 6, 4)
    with pytest.raises(ValueError, match="kernel must be odd"):
        LocalValues(width=4, kernel=2)
    with pytest.raises(ValueError, match="width is 8, and v has 4"):
        built(8)(q, q, q, Side(grid=(2, 3)))
    with pytest.raises(ValueError, match="a lattice of two axes is needed"):
        built(4)(q, q, q, Side(grid=(6,)))
    with pytest.raises(ValueError, match="tokens"):
        built(4)(q, q, q, Side(grid=(2, 4)))
    with pytest.raises(ValueError, match="side.grid"):
        built(4)(q, q, q, Side())
