"""View contrast: two random halves of an input's tokens should be nearer to each other than to any other input.

Source: the loss: Chen et al. 2020, arXiv:2002.05709, eq. 1 (NT-Xent); views by leaving tokens out, of any modality:
Assran et al. 2022, arXiv:2204.07141, sec. 3 (there with prototypes instead of negatives).
Axes: S inputs, N tokens, D width, E width of the comparison.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.model import Model
from unimodal.sample import Batch
from unimodal.selected import selected
from unimodal.tokens import Tokens

__all__ = ["ViewContrast"]


class ViewContrast(nn.Module):
    """loss = mean over views i of -log exp(z_i . z_j / t) / sum_{k != i} exp(z_i . z_k / t), j the other view of i.

    z is the readout of the core over a view, through two linear maps, at unit length. It asks for no pixels, words or
    samples back, so one objective serves every tokenizer; what it teaches is what the parts of one input share.

    Args:
        dim: Width of the model's readout.
        width: E.
        keep: Share of each input's tokens that a view holds, at least one; the two views are drawn independently.
        temperature: t.

    Shapes:
        model, batch of S >= 2 inputs;  returns the loss, a scalar.

    Raises:
        ValueError: ``keep`` or ``temperature`` is out of range, or the batch has a single input.
    """

    def __init__(self, dim: int, *, width: int = 64, keep: float = 0.5, temperature: float = 0.1) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ValueError(f"keep is a share in (0, 1], not {keep}")
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.keep, self.temperature = keep, temperature
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, width))

    def forward(self, model: Model, batch: Batch) -> Tensor:
        if model.readout is None:
            raise ValueError("the model has no readout to compare")
        tokens = model.tokenize(batch)
        if tokens.sequences < 2:
            raise ValueError("a batch of one input has nothing to be told apart from")
        z_SE = torch.cat([self.project(model.readout(model.transformer(self.view(tokens)))) for _ in range(2)])
        z_SE = F.normalize(z_SE.float(), dim=-1)
        alike_SS = z_SE @ z_SE.mT / self.temperature
        alike_SS = alike_SS.masked_fill(torch.eye(len(z_SE), dtype=torch.bool, device=z_SE.device), float("-inf"))
        partner_S = torch.arange(len(z_SE), device=z_SE.device).roll(tokens.sequences)
        return F.cross_entropy(alike_SS, partner_S)

    def view(self, tokens: Tokens) -> Tokens:
        """A random part of each sequence, in order, behind its prefix; packed."""
        chosen = []
        for length in tokens.sequence_lengths():
            n = length - tokens.side.prefix
            chosen.append(torch.randperm(n)[: max(1, round(self.keep * n))].sort().values)
        return selected(tokens, chosen)
