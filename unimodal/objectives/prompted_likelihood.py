"""Prompted likelihood: what prompt tuning adds to a trained likelihood, a small map to logits and a token a class.

Source: Zhu et al. 2022, arXiv:2112.01522; released code github.com/fundamentalvision/Uni-Perceiver,
uniperceiver/modeling/meta_arch/unified_transformer.py (fc_prompt_process), uniperceiver/modeling/embedding/
prompt_embed.py and configs/BERT_L12_H768_experiments/prompt_tuning.
Axes: S inputs, K targets, N tokens, D width of the model's readout.
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.model import Model
from unimodal.objectives.likelihood import Likelihood
from unimodal.sample import Batch
from unimodal.tokens import Tokens

__all__ = ["PromptedLikelihood"]


class PromptedLikelihood(nn.Module):
    """logits = w cos(f(x), f(y)) / tau + A m(x) + a, m the likelihood's output map before unit length.

    w starts as 1, A and a as 0, so at the start the logits are the likelihood's. With ``label_prompts`` each target has
    a trained token of its own between the model's prefix and its text, at the start 0: a further token, which does
    change the logits. The released settings use the map or the label prompts, not both. Beside them the norm of the
    likelihood is trained; its map and temperatures are not. The model's own share is
    :func:`unimodal.deep_prompts.prompt`.

    Args:
        likelihood: Trained before; copied and left as it is.
        targets: K. From here on the number and the order of targets are fixed.
        linear: Whether there is w, A and a.
        label_prompts: Whether each target has a token.

    Shapes:
        forward: S inputs, the K targets, labels (S,) or (S, K);  returns a scalar.
        logits: S inputs, the K targets;  returns (S, K).

    Raises:
        ValueError: ``targets`` is not positive, nothing would be added, a call has another number of targets, or
            label prompts meet targets with coordinates.
    """

    def __init__(
        self, likelihood: Likelihood, *, targets: int, linear: bool = True, label_prompts: bool = False
    ) -> None:
        super().__init__()
        if targets < 1 or not (linear or label_prompts):
            raise ValueError(f"targets must be positive and one of linear, label_prompts true, not {targets}, neither")
        self.targets = targets
        self.likelihood = copy.deepcopy(likelihood).requires_grad_(False)
        self.likelihood.norm.requires_grad_(True)
        dim = likelihood.project.in_features
        self.weight = nn.Parameter(torch.ones(())) if linear else None
        self.linear = nn.Linear(dim, targets) if linear else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.label_prompts = nn.Parameter(torch.zeros(targets, 1, dim)) if label_prompts else None

    def forward(self, model: Model, task: str, inputs: Batch | Tokens, targets: Batch, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(model, task, inputs, targets), labels)

    def logits(self, model: Model, task: str, inputs: Batch | Tokens, targets: Batch) -> Tensor:
        """The cosines over the temperature, and what the trained map adds."""
        if len(targets) != self.targets:
            raise ValueError(f"there are {len(targets)} targets, and the prompts are of {self.targets}")
        z_SD = self.likelihood.read(model, inputs)
        y_KD = self.likelihood.encode(model, self._labelled(model, targets))
        logits_SK = self.likelihood.compared(task, self.likelihood.unit(z_SD), y_KD)
        if self.linear is None or self.weight is None:
            return logits_SK
        return self.weight * logits_SK + self.linear(self.likelihood.mapped(z_SD))

    def _labelled(self, model: Model, targets: Batch) -> Batch | Tokens:
        """[prefix, label prompt, target] of each target."""
        if self.label_prompts is None:
            return targets
        tokens = model.tokenize(targets).padded()
        side = tokens.side.honour("causal", "lengths")
        if side.positions is not None or side.size is not None:
            raise ValueError(f"{side.modality} has positions or sizes of its own, which a label prompt does not")
        front, behind = tokens.x.split([side.prefix, tokens.x.shape[1] - side.prefix], 1)
        x_KND = torch.cat([front, self.label_prompts.to(front.dtype), behind], 1)
        lengths = None if side.lengths is None else side.lengths + 1
        return tokens.replace(x_KND, prefix=side.prefix + 1, lengths=lengths)
