"""Point hierarchy: a cloud in stages, each of which gathers the neighbours of half of the points into them.

Source: Zhang et al. 2023, arXiv:2303.08134 (Point-PN); its sizes as in front of frozen transformers: Tang et al.
2024, arXiv:2404.07989; released code: github.com/Ivan-Tang-3D/Any2Point, models/backbone/Point_PN.py.
Axes: B clouds, N points, C channels, G centres of a stage, K neighbours, W channels of a stage, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.nearest_neighbours import nearest_neighbours
from unimodal.positions.sincos import SinCos
from unimodal.side import Side

__all__ = ["PointHierarchy"]

SHARPNESS, BASE = 100.0, 1000.0  # of the waves of an offset: beta and alpha of the paper


class PointHierarchy(nn.Module):
    """f = relu(bn(W p)); then in each stage, for centre c and its neighbours n among the points of the stage before:

        h_n = residual maps([f_n, f_c] + waves(100 (p_n - p_c) / m)),   f_c = max_n h_n

    m is the largest offset of the group along each axis, so that no group has a size (an axis along which a group is
    flat gives 0; the released code divides 0 by 0). A residual map is relu(h + bn(W2 relu(bn(W1 h)))). Each stage has
    twice the channels and half of the points of the one before it, and the last one has as many as are asked for.

    The centres of a stage are the first of its points: clouds come laid out in farthest-point order, any beginning of
    which is a farthest-point sampling.

    Args:
        dim: Width D, of the last stage.
        channels: C: coordinates, then colours if any.
        neighbours: K.
        blocks: Residual maps of each stage.
        hidden: Channels between W1 and W2 in each stage; None for half of the stage's.

    Shapes:
        forward: clouds (B, N, C), C at least 3, and the number of tokens G;  returns (B, G, D) of the first G points.

    Raises:
        ValueError: D is no multiple of 2 to the power of the stages, or less than 3 times that; numbers of stages
            differ; a count is not positive; more tokens than points are asked for.

    Cost: O(N K W^2) a stage; W doubles and N halves, so each stage costs about twice the one before.
    """

    def __init__(
        self,
        dim: int,
        *,
        channels: int = 3,
        neighbours: int = 81,
        blocks: tuple[int, ...] = (2, 1, 1),
        hidden: tuple[int | None, ...] = (None, None, 32),
    ) -> None:
        super().__init__()
        stages = len(blocks)
        if len(hidden) != stages:
            raise ValueError(f"hidden must have a width for each of {stages} stages, not {hidden}")
        if min(*blocks, neighbours, *(h for h in hidden if h is not None)) < 1:
            raise ValueError(f"counts must be positive, not {neighbours=}, {blocks=}, {hidden=}")
        first = dim // 2**stages
        if dim % 2**stages or first < 3:
            raise ValueError(f"dim must be a multiple of {2**stages}, {3 * 2**stages} at least, not {dim}")
        self.neighbours = neighbours
        self.lift = nn.Linear(channels, first, bias=False)
        self.norm_lift = nn.BatchNorm1d(first)
        widths = [first * 2 ** (i + 1) for i in range(stages)]
        self.waves = nn.ModuleList(SinCos(width, base=BASE) for width in widths)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Residual(width, width // 2 if narrow is None else narrow) for _ in range(count)))
            for width, narrow, count in zip(widths, hidden, blocks, strict=True)
        )

    def forward(self, clouds: Tensor, tokens: int) -> Tensor:
        rows, count = clouds.shape[:2]
        if not 1 <= tokens <= count:
            raise ValueError(f"tokens must be 1 to the {count} points there are, not {tokens}")
        clouds = clouds.to(self.lift.weight.dtype)
        points_BN3 = clouds[..., :3]
        f_BNW = self.norm_lift(self.lift(clouds).flatten(0, 1)).relu().unflatten(0, (rows, count))
        for i, (stage, waves) in enumerate(zip(self.stages, self.waves, strict=True)):
            last = i == len(self.stages) - 1
            half = tokens if last else max(tokens, points_BN3.shape[1] // 2)
            near_BGK = nearest_neighbours(points_BN3, points_BN3[:, :half], self.neighbours)
            of_B11 = torch.arange(rows, device=clouds.device)[:, None, None]
            offset_BGK3 = points_BN3[of_B11, near_BGK] - points_BN3[:, :half, None]
            largest_BG13 = offset_BGK3.abs().amax(2, keepdim=True)
            offset_BGK3 = offset_BGK3 / torch.where(largest_BG13 > 0, largest_BG13, 1.0)
            centre_BGKW = f_BNW[:, :half, None].expand(-1, -1, self.neighbours, -1)
            pairs = torch.cat([f_BNW[of_B11, near_BGK], centre_BGKW], -1).flatten(1, 2)
            h = waves(pairs, Side(positions=SHARPNESS * offset_BGK3.flatten(1, 2)))
            f_BNW = stage(h.flatten(0, 1)).unflatten(0, (rows, half, self.neighbours)).amax(2)
            points_BN3 = points_BN3[:, :half]
        return f_BNW


class _Residual(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.to_hidden, self.norm_hidden = nn.Linear(width, hidden), nn.BatchNorm1d(hidden)
        self.to_out, self.norm_out = nn.Linear(hidden, width), nn.BatchNorm1d(width)

    def forward(self, h_QW: Tensor) -> Tensor:
        inner = self.norm_hidden(self.to_hidden(h_QW)).relu()
        return (self.norm_out(self.to_out(inner)) + h_QW).relu()
