"""Captioning: each word of a text from what it describes and the words before it, all words in one pass.

Source: Zhu et al. 2022, arXiv:2112.01522; the sequence [SPE, image, text, SPE x words] and its mask:
released code github.com/fundamentalvision/Uni-Perceiver, uniperceiver/modeling/encoder/unified_bert_encoder.py.
Axes: S inputs, N tokens, K words, W words of all texts, D width.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.masks import text_and_its_questions
from unimodal.model import Model
from unimodal.objectives.likelihood import Likelihood
from unimodal.sample import Sample
from unimodal.vocabulary import Vocabulary

__all__ = ["Captioning"]


class Captioning(nn.Module):
    """loss = mean over words of -log P(word_i | x, words before i), P ~ exp(cos(f(x at question i), f(word k)) / tau).

    A caption follows what it describes twice: as it is, and as blanks with the same positions, which are the questions.
    By :func:`~unimodal.masks.text_and_its_questions` no question sees its word, so one pass over x and the text does
    what a pass a word would. Tokens that are no words of the vocabulary are read, but not asked for.

    Shapes:
        forward: S inputs and their S captions;  returns the loss, a scalar.
        logits: the same;  returns (W, K), in the order of the captions and their words, and the words' places (W,).

    Raises:
        ValueError: captions and inputs differ in number, no token is a word of the vocabulary, or the model's text is
            in causal order (the mask says it all).
    """

    def forward(
        self,
        model: Model,
        likelihood: Likelihood,
        task: str,
        inputs: Sequence[Sample],
        captions: Sequence[Sample],
        vocabulary: Vocabulary,
    ) -> Tensor:
        return F.cross_entropy(*self.logits(model, likelihood, task, inputs, captions, vocabulary))

    def logits(
        self,
        model: Model,
        likelihood: Likelihood,
        task: str,
        inputs: Sequence[Sample],
        captions: Sequence[Sample],
        vocabulary: Vocabulary,
    ) -> tuple[Tensor, Tensor]:
        """What is compared in :meth:`forward`."""
        if len(inputs) != len(captions):
            raise ValueError(f"{len(inputs)} inputs have {len(captions)} captions")
        labels_W = vocabulary.places(torch.cat([caption.data for caption in captions]))
        if (labels_W < 0).all():
            raise ValueError("no token of the captions is a word of the vocabulary, so nothing can be asked")
        blanks = [replace(caption, data=torch.full_like(caption.data, vocabulary.blank)) for caption in captions]
        tokens = model.together(list(zip(inputs, captions, blanks, strict=True)))
        if tokens.side.causal:
            raise ValueError("the model's tokenizers are in causal order, which the questions cannot keep")
        tokens = tokens.padded()
        width, device = tokens.x.shape[1], tokens.x.device
        lengths_S = torch.tensor(tokens.sequence_lengths(), device=device)
        words_S = torch.tensor([len(caption.data) for caption in captions], device=device)
        out = model.transformer(tokens.replace(mask=text_and_its_questions(lengths_S, words_S, width)))
        place_N, labels_W = torch.arange(width, device=device), labels_W.to(device)
        asked_SN = (place_N >= (lengths_S - words_S)[:, None]) & (place_N < lengths_S[:, None])
        z_WD = likelihood.unit(out.x[asked_SN][labels_W >= 0])
        y_KD = likelihood.encode(model, vocabulary.words.to(device))
        return likelihood.compared(task, z_WD, y_KD), labels_W[labels_W >= 0]
