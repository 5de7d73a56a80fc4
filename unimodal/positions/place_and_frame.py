"""Place and frame: a learned vector of the place in a picture plus one of the moment; a picture is a clip of one frame.

Source: Zhu et al. 2022, arXiv:2112.01522 (images and videos share one tokenizer); the random first frame:
released code github.com/fundamentalvision/Uni-Perceiver, uniperceiver/modeling/embedding/video_embed.py, Divide_ST_POS.
Axes: B batch, N tokens, D width, T frames.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.lattice import over_tokens
from unimodal.positions.learned import Learned
from unimodal.side import Side

__all__ = ["PlaceAndFrame"]


class PlaceAndFrame(nn.Module):
    """x + place[y, x] + frame[first + t], the first frame drawn anew for each batch in training, else 0.

    So every frame vector is trained by pictures too, and a clip may begin anywhere. Other lattices get the places
    resampled (bilinearly in the released code, bicubically here); the number of frames is not stretched.

    Args:
        dim: Width D.
        grid: Rows and columns of the table of places.
        frames: Rows of the table of frames.

    Shapes:
        x: (B, N, D) on a lattice (rows, columns) or (T, rows, columns), T <= frames;  returns (B, N, D); prefix tokens
            are unchanged.

    Raises:
        ValueError: ``grid`` has not two axes, ``frames`` is not positive, or the tokens' lattice is none of the above.
    """

    applies_to = "tokens"

    def __init__(self, dim: int, *, grid: tuple[int, ...], frames: int = 8) -> None:
        super().__init__()
        if len(grid) != 2 or frames < 1:
            raise ValueError(f"grid must be (rows, columns) and frames positive, not {tuple(grid)} and {frames}")
        self.place = Learned(dim, grid=grid)
        self.frame = nn.Parameter(torch.empty(frames, dim))
        nn.init.trunc_normal_(self.frame, std=0.02)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return x + over_tokens(self._on, side, *x.shape[:2]).to(x.dtype)

    def _on(self, grid: tuple[int, ...]) -> Tensor:
        count, known = (1 if len(grid) == 2 else grid[0]), len(self.frame)
        if len(grid) not in (2, 3) or count > known:
            raise ValueError(f"a lattice must be (rows, columns) or at most {known} frames of them, not {grid}")
        first = int(torch.randint(known - count + 1, ())) if self.training else 0
        return (self.place.on(tuple(grid[-2:])) + self.frame[first : first + count, None]).flatten(0, 1)
