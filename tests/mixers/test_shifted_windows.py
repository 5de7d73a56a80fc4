"""Shifted windows: the paper's scheme in loops, limits, reach, and torchvision's own module."""

import pytest
import torch
from torch import Tensor

from unimodal.attention.lattice_bias import LatticeBias
from unimodal.mixers.full import Full
from unimodal.mixers.shifted_windows import ShiftedWindows
from unimodal.part import Part
from unimodal.side import Side
from unimodal.specimen import changed

ATTENTION = Part(LatticeBias, heads=2, window=(3, 2))
MIXER = Part(Full, heads=2, attention=ATTENTION)


def made(*, mixer: Part = MIXER, window=(3, 2), **options) -> ShiftedWindows:
    torch.manual_seed(0)
    windows = ShiftedWindows(8, mixer=mixer, window=window, **options).double().eval()
    for parameter in windows.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return windows


def by_loops(mixer: ShiftedWindows, x_YXD: Tensor, shift: tuple[int, int]) -> Tensor:
    """Attention of every cell over those that are in its window and, before the turn, no further than the window."""
    full, (M, N) = mixer.mixer, mixer.window
    Y, X, _ = x_YXD.shape
    Yp, Xp = -(-Y // M) * M, -(-X // N) * N
    padded = torch.zeros(Yp, Xp, 8, dtype=x_YXD.dtype)
    padded[:Y, :X] = x_YXD
    q, k, v = (t.unflatten(-1, (2, 4)) for t in full.to_qkv(padded).chunk(3, -1))
    table, out = full.attention.table, torch.zeros_like(x_YXD)
    for y in range(Y):
        for x in range(X):
            ty, tx = (y - shift[0]) % Yp, (x - shift[1]) % Xp  # where the cell stands once the lattice is turned
            seen = []
            for v_y in range(ty // M * M, ty // M * M + M):
                for v_x in range(tx // N * N, tx // N * N + N):
                    c_y, c_x = (v_y + shift[0]) % Yp, (v_x + shift[1]) % Xp
                    near_y = (c_y - y) == (v_y - ty)  # no seam of the turn between the two
                    near_x = (c_x - x) == (v_x - tx)
                    if near_y and near_x:
                        seen.append((c_y, c_x, (ty - v_y + M - 1) * (2 * N - 1) + tx - v_x + N - 1))
            heads = []
            for h in range(2):
                logits = torch.stack([q[y, x, h] @ k[a, b, h] / 2 + table[o, h] for a, b, o in seen]).softmax(0)
                heads.append(sum(w * v[a, b, h] for w, (a, b, _) in zip(logits, seen, strict=True)))
            out[y, x] = full.to_out(torch.cat(heads))
    return out


@pytest.mark.parametrize("grid", [(6, 4), (7, 5), (4, 8)])
@pytest.mark.parametrize("shift", [(0, 0), (1, 1), (2, 0)])
def test_it_is_the_papers_scheme_in_loops(grid, shift):
    mixer, x = made(shift=shift), torch.randn(1, grid[0] * grid[1], 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            mixer(x, Side(grid=grid))[0].view(*grid, 8), by_loops(mixer, x.view(*grid, 8), shift)
        )


def test_a_window_of_the_lattice_is_its_mixer_alone():
    mixer, x = made(shift=1), torch.randn(2, 6, 8, dtype=torch.float64)
    side = Side(grid=(3, 2))
    assert torch.equal(mixer(x, side), mixer.mixer(x, side))


def test_windows_do_not_talk_to_one_another_and_seams_of_the_turn_stay_shut():
    x, side = torch.randn(1, 36, 8, dtype=torch.float64), Side(grid=(6, 6))
    for shift, reached in ((0, {0, 1, 6, 7, 12, 13}), (1, {0})):
        mixer = made(shift=shift)
        gap = (mixer(changed(x, slice(None), 0), side) - mixer(x, side)).abs().sum(-1)[0]
        assert set(gap.nonzero()[:, 0].tolist()) == reached


def test_two_blocks_in_turn_let_cells_of_two_windows_meet():
    x, side = torch.randn(1, 36, 8, dtype=torch.float64), Side(grid=(6, 6))
    first, second = made(), made(shift=1)
    gap = second(first(changed(x, slice(None), 0), side), side) - second(first(x, side), side)
    assert gap[0, 14].any()  # row 2, column 2: another window of the first block


@pytest.mark.parametrize("unshifted, seams", [("axis", (0, 1)), ("either", (0, 0)), ("never", (1, 1))])
def test_a_lattice_that_fits_into_a_window_is_turned_as_asked(unshifted, seams):
    mixer = made(mixer=Part(Full, heads=2), shift=1, unshifted=unshifted)
    still = made(mixer=Part(Full, heads=2), shift=seams, unshifted="never")
    x, side = torch.randn(1, 18, 8, dtype=torch.float64), Side(grid=(3, 6))
    assert torch.equal(mixer(x, side), still(x, side))


def test_the_order_of_zeros_and_turn_matters_at_a_ragged_edge_only():
    padded, turned = made(shift=1), made(shift=1, edge="turned")
    x = torch.randn(1, 40, 8, dtype=torch.float64)
    assert not torch.allclose(padded(x, Side(grid=(8, 5))), turned(x, Side(grid=(8, 5))))
    assert torch.equal(padded(x[:, :36], Side(grid=(6, 6))), turned(x[:, :36], Side(grid=(6, 6))))


def test_clips_are_cut_along_three_axes():
    cube = (2, 2, 2)
    mixer = made(mixer=Part(Full, heads=2, attention=Part(LatticeBias, heads=2, window=cube)), window=cube, shift=1)
    x = torch.randn(1, 4 * 3 * 5, 8, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(mixer(x, Side(grid=(4, 3, 5)))[0, 0].sum(), x)
    assert grad[0].any(-1).nonzero()[:, 0].tolist() == [0]  # a corner is alone behind seams


def test_gradients_are_those_of_finite_differences():
    mixer, x = made(shift=1), torch.randn(1, 12, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: mixer(t, Side(grid=(4, 3)))[:, :, :2], x)


def test_seams_and_places_are_constants_of_a_traced_program():
    mixer, x = made(shift=1), torch.randn(2, 35, 8, dtype=torch.float64)
    traced = torch.compile(lambda t: mixer(t, Side(grid=(7, 5))), backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(x), mixer(x, Side(grid=(7, 5))))


@pytest.mark.parity
@pytest.mark.parametrize("grid", [(14, 14), (9, 16), (7, 20), (5, 4)])
@pytest.mark.parametrize("shift", [0, 3])
def test_it_is_torchvisions_module_at_any_size(grid, shift):
    swin = pytest.importorskip("torchvision.models.swin_transformer")
    peer = swin.ShiftedWindowAttention(12, [7, 7], [shift, shift], 3).double().eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mixer = Part(Full, heads=3, attention=Part(LatticeBias, heads=3, window=7))
    ours = ShiftedWindows(12, mixer=mixer, shift=shift, unshifted="axis").double().eval()
    ours.load_state_dict(
        {
            "mixer.attention.table": peer.relative_position_bias_table,
            **{f"mixer.to_qkv.{n}": p for n, p in peer.qkv.named_parameters()},
            **{f"mixer.to_out.{n}": p for n, p in peer.proj.named_parameters()},
        }
    )
    x = torch.randn(2, *grid, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x.flatten(1, 2), Side(grid=grid)).view_as(x), peer(x))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"window": (0, 2)}, "window must be positive"),
        ({"shift": 2}, r"shift in 0..window - 1"),
        ({"shift": (1, 1, 1)}, "window must be positive and shift"),
        ({"unshifted": "both"}, "unshifted must be"),
        ({"edge": "repeated"}, "edge must be"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        made(**options)


@pytest.mark.parametrize(
    "side, match",
    [
        (Side(), "grid"),
        (Side(grid=(2, 3, 2)), "as many axes"),
        (Side(grid=(3, 4), causal=True), "causal"),
        (Side(grid=(3, 4), mask=torch.ones(1, 1, 12, 12, dtype=torch.bool)), "mask"),
        (Side(grid=(3, 4), bias=torch.zeros(1, 1, 12, 12)), "bias"),
    ],
)
def test_other_sides_are_refused(side, match):
    with pytest.raises(ValueError, match=match):
        made()(torch.zeros(1, 12, 8, dtype=torch.float64), side)


def test_zeros_in_filled_windows_count_as_tokens():
    mixer = made(mixer=Part(Full, heads=2))
    x = torch.randn(1, 4, 8, dtype=torch.float64)  # 2 x 2 in a window of 3 x 2
    filled = torch.cat([x, x.new_zeros(1, 2, 8)], 1)
    torch.testing.assert_close(mixer(x, Side(grid=(2, 2))), mixer.mixer(filled)[:, :4])
