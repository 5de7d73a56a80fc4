"""Deep prompts: train a few tokens in front of every layer, and the norms; the rest of a model stays as it is.

Source: Jia et al. 2022, arXiv:2203.12119, sec. 3.2 (VPT-deep: each layer's prompts take the place of the last one's);
with norms and the SPE token's bias trained: Zhu et al. 2022, arXiv:2112.01522; released code github.com/
fundamentalvision/Uni-Perceiver, uniperceiver/modeling/layers/transformer_encoder_layer.py, pe_encoder.py and
configs/BERT_L12_H768_experiments/prompt_tuning.
Axes: B rows, N tokens, D width, S sequences, P prompts.
"""

import copy
import re

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.adapted import Adapted
from unimodal.model import Model
from unimodal.places import places
from unimodal.prefix import Prefix
from unimodal.repositioned import Repositioned
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["prompt"]


def prompt(
    model: nn.Module, *, tokens: int = 10, dim: int | None = None, where: str = r"^prefix\.|(^|\.)norm"
) -> Adapted:
    """A copy in which every layer i is x -> layer_i([p_i, x]) without what became of p_i, p_i being P trained tokens.

    The released code gives the prompts to keys and values alone, behind the layer's norm. In a pre-norm layer that is
    the same function, as no layer reads what another's prompts became. Prompts count as prefix tokens, so lattices and
    positions stay what they were; every token sees them, in causal order and under a mask too. Blocks that serve
    several layers give them the same prompts.

    Beside them the model's norms and its prefix are trained. To train the prefix is to train a bias of the SPE token
    (the released code's also goes to blanks, a row of the words).

    Args:
        model: Left as it is: a Model or a core, whose core is a Transformer or a Repositioned one.
        tokens: P.
        dim: Width D; None for the model's own ``dim``.
        where: A regular expression that is searched for in the names of the model's parameters: those that are trained
            too. None of them for "$^".

    Raises:
        ValueError: ``tokens`` is not positive, the width is not known, the core is none of the above or has prompts
            already. Called with a memory, the copy refuses it: prompts are no keys of another sequence.
    """
    width = getattr(model, "dim", None) if dim is None else dim
    if tokens < 1 or width is None:
        raise ValueError(f"tokens must be positive and dim given for {type(model).__name__}, not {tokens} and {width}")
    total = sum(p.numel() for p in model.parameters())
    new = copy.deepcopy(model).requires_grad_(False)
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(re.search(where, name) is not None)
    root = new.transformer if isinstance(new, Model) else new
    core = root.core if isinstance(root, Repositioned) else root
    if not isinstance(core, Transformer):
        raise ValueError(f"{type(core).__name__} is no Transformer, so its layers cannot get prompts")
    if any(isinstance(block, _PromptedBlock) for block in core.blocks):
        raise ValueError("the layers have prompts already")
    like = next(new.parameters())
    for i, block in enumerate(core.blocks):
        core.blocks[i] = _PromptedBlock(block, Prefix(width, count=tokens).to(like.device, like.dtype))
    return Adapted(new, total)


class _PromptedBlock(nn.Module):
    def __init__(self, block: nn.Module, prompts: Prefix) -> None:
        super().__init__()
        self.block, self.prompts = block, prompts
        self.train(block.training)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        count = self.prompts.count
        longer = self.prompts(Tokens(x, side.replace(mask=None, bias=None)))
        mask, bias = (_widened(p, x.shape[1], count, v) for p, v in ((side.mask, True), (side.bias, 0.0)))
        y = self.block(longer.x, longer.side.replace(mask=mask, bias=bias))
        if side.cu_seqlens is None:
            return y[:, count:]
        return y[:, places(longer.side, y.shape[1], y.device)[0] >= count]


def _widened(pairs: Tensor | None, tokens: int, count: int, value: float) -> Tensor | None:
    """A mask or bias with ``value`` for prompts in front of queries and keys; one row for all queries stays one."""
    if pairs is None:
        return None
    whole = pairs.expand(*pairs.shape[:-1], tokens)
    return F.pad(whole, (count, 0, count if whole.shape[-2] > 1 else 0, 0), value=value)
