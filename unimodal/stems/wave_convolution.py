"""Wave convolution stem: strided convolutions over raw samples, then one linear map.

Source: Baevski et al. 2020, arXiv:2006.11477, sec. 2 and 4.2 (seven layers of 512 channels, stride 320 in all);
Hsu et al. 2021, arXiv:2106.07447, sec. III.A.
Axes: B sounds, C channels, Y rows (one for a sound), T samples, W channels within, N cells, D width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

__all__ = ["WaveConvolutionStem"]


class WaveConvolutionStem(nn.Module):
    """h_0 = wave;  h_i = gelu(norm_i(W_i * h_(i-1)));  cell_n = U norm(h_n) + b.

    ``norms`` says which norm_i there is. ``first``: after the first convolution alone, each channel over the whole
    sound, as in wav2vec 2.0 base: there a sound's loudness has no influence, and its cells depend on all of it.
    ``each``: after every convolution, over the channels at each place, as in the large models.

    Args:
        dim: Width D.
        kernels: Samples that each convolution sees.
        strides: Their steps; the stem's is their product.
        width: W.
        norms: ``first`` or ``each``.
        bias: Whether the convolutions have a bias.
        eps: Of the norm before the linear map; the convolutions' norms have 1e-5.
        channels: C.

    Shapes:
        wave: (B, C, Y, T);  returns (B, D, Y, N), N as :meth:`cells` says.

    Raises:
        ValueError: kernels and strides are not as many, or ``norms`` is neither of the two.
    """

    def __init__(
        self,
        dim: int,
        *,
        kernels: tuple[int, ...] = (10, 3),
        strides: tuple[int, ...] = (5, 2),
        width: int = 512,
        norms: str = "first",
        bias: bool = False,
        eps: float = 1e-5,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if len(kernels) != len(strides) or not kernels:
            raise ValueError(f"kernels and strides must be as many, not {kernels} and {strides}")
        if norms not in ("first", "each"):
            raise ValueError(f"norms must be 'first' or 'each', not {norms!r}")
        self.kernels, self.strides, self.channels = tuple(kernels), tuple(strides), channels
        widths = (channels, *(width for _ in kernels))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, width, (1, kernel), (1, stride), bias=bias)
            for before, kernel, stride in zip(widths, kernels, strides, strict=False)
        )
        several = nn.ModuleList(nn.LayerNorm(width) for _ in kernels) if norms == "each" else None
        self.norms = several if several is not None else nn.ModuleList([nn.GroupNorm(width, width)])
        self.norm = nn.LayerNorm(width, eps=eps)
        self.project = nn.Linear(width, dim)

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice of sounds of ``sizes`` (rows, samples)."""
        rows, length = sizes
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            length = (length - kernel) // stride + 1 if length >= kernel else 0
        return rows, length

    def forward(self, wave: Tensor) -> Tensor:
        h_BWYN = wave
        for i, convolution in enumerate(self.convolutions):
            h_BWYN = convolution(h_BWYN)
            if i < len(self.norms):
                h_BWYN = _normed(self.norms[i], h_BWYN)
            h_BWYN = F.gelu(h_BWYN)
        return self.project(self.norm(h_BWYN.movedim(1, -1))).movedim(-1, 1)


def _normed(norm: nn.Module, h_BWYN: Tensor) -> Tensor:
    return norm(h_BWYN) if isinstance(norm, nn.GroupNorm) else norm(h_BWYN.movedim(1, -1)).movedim(-1, 1)
