"""Group encoder: a small PointNet, one vector for a set of points.

Source: Qi et al. 2016, arXiv:1612.00593, eq. 1 (a shared map, then a maximum); in two rounds for groups: Yu et al.
2021, arXiv:2111.14819, sec. 3.1; its sizes as in the code of Pang et al. 2022, arXiv:2203.06604.
Axes: B clouds, G groups, K points of a group, C channels, W channels of the first round, D width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.whole_matrix import whole_matrix

__all__ = ["GroupEncoder"]


class GroupEncoder(nn.Module):
    """f_k = W2 relu(bn(W1 p_k));  h_k = relu(bn(W3 [max_j f_j, f_k]));  z = max_k W4 h_k, all maps with bias.

    The order of a group's points does not matter, nor how often one is in it (but for batch statistics in training).
    W3 is applied to the group's maximum once a group instead of once a point, which halves its cost.

    Args:
        dim: Width D.
        channels: C of a point: offsets from the group's centre, then colours if any.
        widths: Of W1 p, of f (W) and of h. Point-MAE's are (128, 256, 512).

    Shapes:
        groups: (B, G, K, C);  returns (B, G, D).
    """

    def __init__(self, dim: int, *, channels: int = 3, widths: tuple[int, int, int] = (128, 256, 512)) -> None:
        super().__init__()
        first, pooled, last = widths
        self.lift = nn.Linear(channels, first)
        self.norm_lift = nn.BatchNorm1d(first)
        self.to_local = nn.Linear(first, pooled)
        self.join = nn.Linear(2 * pooled, last)
        self.norm_join = nn.BatchNorm1d(last)
        self.to_out = nn.Linear(last, dim)

    def forward(self, groups: Tensor) -> Tensor:
        sizes = groups.shape[:-1]
        points_QC = groups.to(self.lift.weight.dtype).flatten(0, -2)
        f_QW = self.to_local(self.norm_lift(self.lift(points_QC)).relu_())
        of_group, of_point = whole_matrix(self.join).chunk(2, -1)
        most_BG1 = F.linear(f_QW.unflatten(0, sizes).amax(-2, keepdim=True), of_group, self.join.bias)
        h_BGK = F.linear(f_QW, of_point).unflatten(0, sizes).add_(most_BG1)
        h_Q = self.norm_join(h_BGK.flatten(0, -2)).relu_()
        return self.to_out(h_Q).unflatten(0, sizes).amax(-2)
