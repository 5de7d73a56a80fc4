"""Learned positions: the table as it is, resampled, and beside the resampling of timm and transformers."""

import pytest
import torch

from unimodal.positions.learned import Learned
from unimodal.side import Side


def test_on_its_own_lattice_the_table_is_added_as_it_is():
    position, x = Learned(5, grid=(3, 4)), torch.randn(2, 14, 5)
    y = position(x, Side(grid=(3, 4), prefix=2))
    assert torch.equal(y[:, :2], x[:, :2])
    assert torch.equal(y[:, 2:], x[:, 2:] + position.table)


def test_gradients_of_a_resampled_table_equal_finite_differences():
    position, x = Learned(2, grid=(3, 4)).double(), torch.zeros(1, 6, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda table: torch.func.functional_call(position, {"table": table}, (x, Side(grid=(2, 3)))), position.table
    )


@pytest.mark.parametrize("grid, other", [((4,), (9,)), ((3, 4), (5, 7)), ((3, 4), (2, 2)), ((2, 3, 2), (3, 2, 4))])
@pytest.mark.parametrize("antialias", [True, False])
def test_a_constant_table_stays_constant_on_any_lattice(grid, other, antialias):
    position = Learned(3, grid=grid, antialias=antialias).double()
    with torch.no_grad():
        position.table.copy_(torch.tensor([1.0, -2.0, 0.5]))
    resampled = position.on(other)
    torch.testing.assert_close(resampled, position.table[:1].expand_as(resampled), rtol=0, atol=1e-12)


def test_a_one_dimensional_table_is_interpolated_linearly_between_the_centres_of_its_cells():
    position = Learned(2, grid=(5,))
    cells = position.table.detach()
    for n, value in enumerate(position.on((8,))):
        place = min(max((n + 0.5) * 5 / 8 - 0.5, 0.0), 4.0)
        low = min(int(place), 3)
        expected = (1 - (place - low)) * cells[low] + (place - low) * cells[low + 1]
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


def test_a_bilinear_kernel_weights_the_four_cells_around_a_place():
    position = Learned(2, grid=(3, 4), antialias=False, kernel="bilinear")
    cells_YXD = position.table.detach().unflatten(0, (3, 4))

    def around(n: int, of: int, cells: int) -> list[tuple[int, float]]:
        place = min(max((n + 0.5) * cells / of - 0.5, 0.0), cells - 1.0)
        low = min(int(place), cells - 2)
        return [(low, 1 - (place - low)), (low + 1, place - low)]

    for n, value in enumerate(position.on((5, 2))):
        rows, columns = around(n // 2, 5, 3), around(n % 2, 2, 4)
        expected = torch.stack([a * b * cells_YXD[y, x] for y, a in rows for x, b in columns]).sum(0)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel must be 'bicubic' or 'bilinear', not 'nearest'"):
        Learned(2, grid=(3, 4), kernel="nearest")


@pytest.mark.parity
@pytest.mark.parametrize("other", [(7, 5), (2, 3), (4, 4), (3, 9)])
def test_resampling_equals_timm(other):
    timm_layers = pytest.importorskip("timm.layers")
    position = Learned(6, grid=(4, 4))
    theirs = timm_layers.resample_abs_pos_embed(position.table[None], list(other), [4, 4], num_prefix_tokens=0)[0]
    torch.testing.assert_close(position.on(other), theirs, rtol=0, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("other", [(7, 5), (2, 3), (4, 4), (3, 9)])
@pytest.mark.parametrize("family", ["vit", "dinov2"])
def test_resampling_without_antialias_equals_transformers(family, other):
    transformers = pytest.importorskip("transformers")
    name = {"vit": "ViT", "dinov2": "Dinov2"}[family]
    config = getattr(transformers, f"{name}Config")(hidden_size=6, image_size=16, patch_size=4)
    module = __import__(f"transformers.models.{family}.modeling_{family}", fromlist=["x"])
    peer = getattr(module, f"{name}Embeddings")(config)
    torch.nn.init.normal_(peer.position_embeddings)
    position = Learned(6, grid=(4, 4), antialias=False)
    position.table.data.copy_(peer.position_embeddings[0, 1:])
    tokens = torch.zeros(1, 1 + other[0] * other[1], 6)
    theirs = peer.interpolate_pos_encoding(tokens, 4 * other[0], 4 * other[1])[0, 1:]
    torch.testing.assert_close(position.on(other), theirs, rtol=0, atol=1e-6)


def test_without_resampling_a_shorter_sequence_gets_the_first_entries():
    position = Learned(3, grid=(9,), resample=False)
    assert torch.equal(position.on((4,)), position.table[:4])


@pytest.mark.parametrize("grid, other", [((9,), (10,)), ((3, 3), (2, 2))])
def test_without_resampling_anything_else_raises(grid, other):
    with pytest.raises(ValueError, match=r"a sequence of lattice .* does not fit the position table"):
        Learned(3, grid=grid, resample=False).on(other)


def test_a_lattice_with_another_number_of_axes_raises():
    with pytest.raises(ValueError, match=r"the position table has the lattice \(3, 3\), the tokens \(9,\)"):
        Learned(3, grid=(3, 3)).on((9,))
