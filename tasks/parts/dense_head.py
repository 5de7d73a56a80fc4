"""Dense head: class scores for every cell of a lattice from the features of a frozen encoder.

Source: dilated context: Yu & Koltun 2015, arXiv:1511.07122, sec. 4; coordinate channels: Liu et al. 2018,
arXiv:1807.03247, sec. 3; class weights: Eigen & Fergus 2014, arXiv:1411.4734, sec. 6.3.1 (used by the task's loss).
Axes: B pictures, D feature channels, Y rows, X columns, C hidden width, K classes.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.norms.layer import LayerNorm

__all__ = ["DenseHead"]


class DenseHead(nn.Module):
    """norm, project with the cell's place (x, y, x^2, y^2 in -1..1), dilated 3 x 3 residual layers, scores.

    The place lets the head learn where things usually are; dilation lets it see most of a small picture.

    Args:
        dim: Feature channels D.
        classes: K.
        width: C.
        dilations: One residual layer each.

    Shapes:
        features: (B, D, Y, X);  returns (B, K, Y, X).
    """

    def __init__(self, dim: int, classes: int, *, width: int = 96, dilations: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.project = nn.Conv2d(dim + 4, width, 1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in dilations)
        self.score = nn.Conv2d(width, classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        normed = self.norm(features.movedim(1, -1)).movedim(-1, 1)
        place = _place(*normed.shape[-2:], like=normed).expand(len(normed), -1, -1, -1)
        h = self.project(torch.cat([normed, place], 1))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = h + layer(norm(h).relu())
        return self.score(h.relu())


def _place(rows: int, columns: int, *, like: Tensor) -> Tensor:
    y = torch.linspace(-1, 1, rows).to(like)[:, None].expand(rows, columns)
    x = torch.linspace(-1, 1, columns).to(like)[None].expand(rows, columns)
    return torch.stack([y, x, y * y, x * x])[None]
