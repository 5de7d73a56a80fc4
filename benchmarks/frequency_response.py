"""Frequency response: how strongly a part answers to what varies fast over the lattice, and to what does not."""

from typing import Any

import torch
from torch import Tensor

from unimodal.side import Side

__all__ = ["frequency_response"]

CELLS, RIM, DRAWS = 16, 2, 8


@torch.inference_mode()
def frequency_response(part: Any, seen: Tensor) -> dict[str, float]:
    """Two ratios of gains: a checkerboard's over a constant's, and fine noise's over coarse noise's.

    The gain of a pattern p, which has a mean square of one, is |f(m + s p) - f(m)| / |s p|, m and s being mean and
    spread of each channel of the tokens that the part has seen, with a random sign a channel and 8 draws. Cells at the
    rim, which see the zeros around the lattice, do not count. Noise is white and cut in two at half of the highest
    frequency: what is coarse has a period of four cells or more along both axes.

    Args:
        part: f, in use, of tokens on a lattice.
        seen: (B, N, D).
    """
    draw = torch.Generator().manual_seed(0)
    place = torch.arange(CELLS)
    board = (place[:, None] + place) % 2 * 2.0 - 1.0
    slow = torch.fft.fftfreq(CELLS).abs() <= 0.25
    shape = (DRAWS, CELLS, CELLS, seen.shape[-1])
    spectrum = torch.fft.fft2(torch.randn(shape, generator=draw), dim=(1, 2))
    coarse = torch.fft.ifft2(spectrum * (slow[:, None] & slow)[..., None], dim=(1, 2)).real
    fine = torch.fft.ifft2(spectrum * ~(slow[:, None] & slow)[..., None], dim=(1, 2)).real
    mean, spread = seen.mean((0, 1)), seen.std((0, 1))
    signs = torch.randint(2, (DRAWS, 1, 1, shape[-1]), generator=draw) * 2.0 - 1.0
    within = slice(RIM, -RIM)

    def answer(pattern: Tensor) -> Tensor:
        tokens = (mean + spread * pattern).expand(shape).flatten(1, 2)
        return part(tokens, Side(grid=(CELLS, CELLS))).unflatten(1, (CELLS, CELLS))[:, within, within]

    def gain(pattern: Tensor) -> Tensor:
        whole = pattern.expand(shape) / pattern.expand(shape).square().mean().sqrt()
        return (answer(whole) - rest).norm() / (spread * whole)[:, within, within].norm()

    rest = answer(torch.zeros(1))
    return {
        "board_over_constant": float(gain(signs * board[..., None]) / gain(signs)),
        "fine_over_coarse": float(gain(fine) / gain(coarse)),
    }
