"""Block: a mixer and a feed-forward with their norms and residuals.

Source: post: Vaswani et al. 2017, arXiv:1706.03762; pre: Xiong et al. 2020, arXiv:2002.04745, table 1; sandwich: Ding
et al. 2021, arXiv:2105.13290, sec. 2.4; parallel: Dehghani et al. 2023, arXiv:2302.05442, sec. 2; layer scale: Touvron
et al. 2021, arXiv:2103.17239, eq. 3; stochastic depth: Huang et al. 2016, arXiv:1603.09382.
Axes: B rows, N tokens, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.drop_path import drop_path
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["Block"]


class Block(nn.Module):
    """One layer of a transformer, with branches f = mixer and g = ffn.

        pre        x = x + s f(norm(x));         x = x + t g(norm(x))
        post       x = norm(x + s f(x));         x = norm(x + t g(x))
        sandwich   x = x + s norm(f(norm(x)));   x = x + t norm(g(norm(x)))
        parallel   x = x + s f(norm(x)) + t g(norm(x)), one norm for both

    s and t are the layer scales (1 without); they stand outside of every norm of their branch, which would undo
    their common size.

    Args:
        dim: Width D.
        mixer: Who may talk to whom.
        ffn: Token-wise map, or None for a block without one.
        norm: Norm of every place that the layout has.
        layout: ``pre``, ``post``, ``sandwich`` or ``parallel``.
        layer_scale: Initial value of a trained factor a channel on both branches, or None for no factor.
        drop_path: Probability that a sequence skips a branch while training.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: an unknown layout, a rate outside [0, 1), or a parallel block without a feed-forward.
    """

    def __init__(
        self,
        dim: int,
        *,
        mixer: Part,
        ffn: Part | None,
        norm: Part = Part(LayerNorm),
        layout: str = "pre",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if layout not in ("pre", "post", "sandwich", "parallel"):
            raise ValueError(f"layout must be 'pre', 'post', 'sandwich' or 'parallel', not {layout!r}")
        if layout == "parallel" and ffn is None:
            raise ValueError("a parallel block needs a feed-forward (ffn) beside its mixer")
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path is a probability below 1, not {drop_path}")
        self.layout, self.drop_path = layout, drop_path
        has_ffn = ffn is not None
        self.norm_mixer = norm(dim)
        self.mixer = mixer(dim)
        self.norm_ffn = norm(dim) if has_ffn and layout != "parallel" else None
        self.ffn = ffn(dim) if ffn is not None else None
        self.norm_mixed = norm(dim) if layout == "sandwich" else None
        self.norm_fed = norm(dim) if layout == "sandwich" and has_ffn else None
        scaled = layer_scale is not None
        self.scale_mixer = nn.Parameter(torch.full((dim,), float(layer_scale))) if scaled else None
        self.scale_ffn = nn.Parameter(torch.full((dim,), float(layer_scale))) if scaled and has_ffn else None

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        if self.layout == "parallel":
            h = self.norm_mixer(x, side)
            return x + self._scaled(self.mixer(h, side), self.scale_mixer, side) + self._fed(h, side)
        if self.layout == "post":
            x = self.norm_mixer(x + self._scaled(self.mixer(x, side), self.scale_mixer, side), side)
            return x if self.norm_ffn is None else self.norm_ffn(x + self._fed(x, side), side)
        h = self.mixer(self.norm_mixer(x, side), side)
        h = h if self.norm_mixed is None else self.norm_mixed(h, side)
        x = x + self._scaled(h, self.scale_mixer, side)
        return x if self.norm_ffn is None else x + self._fed(self.norm_ffn(x, side), side)

    def _fed(self, h: Tensor, side: Side) -> Tensor:
        assert self.ffn is not None  # only called where the constructor made one
        h = self.ffn(h, side)
        h = h if self.norm_fed is None else self.norm_fed(h, side)
        return self._scaled(h, self.scale_ffn, side)

    def _scaled(self, branch: Tensor, scale: Tensor | None, side: Side) -> Tensor:
        branch = branch if scale is None else branch * scale
        return drop_path(branch, self.drop_path, side) if self.training and self.drop_path else branch
