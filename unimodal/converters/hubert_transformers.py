"""transformers' HuBERT, whose encoder is wav2vec 2.0's.

Source: Hsu et al. 2021, arXiv:2106.07447, sec. III.A (the architecture follows wav2vec 2.0); weights and layout: Wolf
et al. 2019, arXiv:1910.03771, github.com/huggingface/transformers, models/hubert.
"""

from unimodal.conversion import Conversion, Published
from unimodal.converters.wav2vec2_transformers import wav2vec2_transformers

__all__ = ["hubert_transformers"]


def hubert_transformers(published: Published) -> Conversion:
    """See :func:`unimodal.converters.wav2vec2_transformers.wav2vec2_transformers`.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    return wav2vec2_transformers(published)
