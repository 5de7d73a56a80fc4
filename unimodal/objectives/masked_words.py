"""Masked words: blank some words of a text and ask which they were, among words that the model itself has read.

Source: shares of 15 % and 80/10/10: Devlin et al. 2018, arXiv:1810.04805, sec. 3.1; words as targets of the same
encoder: Zhu et al. 2022, arXiv:2112.01522; released code github.com/fundamentalvision/Uni-Perceiver,
uniperceiver/datasets/task_dataset/general_corpus.py.
Axes: B texts, N tokens, K words, W blanks, D width.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.model import Model
from unimodal.objectives.likelihood import Likelihood
from unimodal.sample import Batch
from unimodal.vocabulary import Vocabulary

__all__ = ["MaskedWords"]


class MaskedWords(nn.Module):
    """loss = mean over blanks of -log P(word | text), P ~ exp(cos(f(x at the blank), f(word k)) / tau).

    Each token that is a word of the vocabulary becomes a blank with probability ``share``, at least one a batch; then
    the blank symbol hides it (80 %), a random word replaces it (10 %) or it stays (10 %). Tokens are drawn one by one
    (the released code draws whole words of several byte pairs, and knows no least number).

    A word's vector comes from the core, not from the embedding table: a word is a text like any other.

    Args:
        share: Of the tokens that become blanks.

    Shapes:
        texts: B texts;  vocabulary: K words;  returns the loss, a scalar.

    Raises:
        ValueError: ``share`` is not in (0, 1], or no token is a word of the vocabulary.
    """

    def __init__(self, *, share: float = 0.15) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], not {share}")
        self.share = share

    def forward(self, model: Model, likelihood: Likelihood, task: str, texts: Batch, vocabulary: Vocabulary) -> Tensor:
        hidden, blank_BN, labels_W = self.hide(texts, vocabulary)
        z_WD = likelihood.unit(model(hidden).lattice().x[blank_BN])
        y_KD = likelihood.encode(model, vocabulary.words.to(z_WD.device))
        return F.cross_entropy(likelihood.compared(task, z_WD, y_KD), labels_W)

    def hide(self, texts: Batch, vocabulary: Vocabulary) -> tuple[Batch, Tensor, Tensor]:
        """The texts with blanks, where these are (B, N), and which words stood there (W,)."""
        ids_BN = texts.data
        assert isinstance(ids_BN, Tensor)  # texts are collated to rows
        place_BN = vocabulary.places(ids_BN)
        word_BN = place_BN >= 0
        if "lengths" in texts.extra:
            word_BN &= torch.arange(ids_BN.shape[1], device=ids_BN.device) < texts.extra["lengths"][:, None]
        if not word_BN.any():
            raise ValueError("no token of the texts is a word of the vocabulary, so nothing can be asked")
        draw_BN, how_BN = torch.rand(2, *ids_BN.shape, device=ids_BN.device)
        draw_BN = draw_BN.masked_fill(~word_BN, 2.0)
        blank_BN = (draw_BN < self.share) | (draw_BN == draw_BN.min())
        random_BN = vocabulary.ids.to(ids_BN.device)[torch.randint(len(vocabulary), ids_BN.shape, device=ids_BN.device)]
        shown_BN = torch.where(how_BN < 0.8, vocabulary.blank, torch.where(how_BN < 0.9, random_BN, ids_BN))
        hidden = Batch(texts.modality, torch.where(blank_BN, shown_BN, ids_BN), texts.records, texts.extra)
        return hidden, blank_BN, place_BN[blank_BN]
