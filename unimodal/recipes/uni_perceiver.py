"""Uni-Perceiver: one pre-norm core for pictures and texts, inputs and targets alike; no head knows a task.

Source: Zhu et al. 2022, arXiv:2112.01522; sizes and settings: released code github.com/fundamentalvision/
Uni-Perceiver, configs/BERT_L12_H192_experiments, BERT_L12_H768_experiments and BERT_L24_H1024_experiments
(base_model_*.yaml), and BERT_L12_H768_experiments/16tasks_training.yaml (160 px, layer scale, drop path alike in all
layers, one norm behind both embeddings).

Parameters at 160 px, together with a Likelihood of the eleven temperatures of the released predictor:

    tiny 15,134,987   base 124,683,275   large 355,434,507

They are those of the released configuration: words 49411 D, their places 512 D, types 2 D, one norm 2 D; patches
768 D + D, their places 100 D (fixed waves there, learned here), frames 8 D, a type D; a layer 12 D^2 + 15 D with its
layer scales; the output map D^2 + 3 D; 11 temperatures. Ours spends the D of the second type of text, which no task
there uses, on the SPE token, which there is a row of the words; and it adds the picture's type, which there is
made and not used.
"""

from types import MappingProxyType

from unimodal.catalog import catalog
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.positions.place_and_frame import PlaceAndFrame
from unimodal.readouts.class_token import ClassToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.stems.patch import PatchStem

__all__ = ["uni_perceiver"]

# name: width, depth, heads, hidden width
_SIZES = MappingProxyType(
    {
        "tiny": (192, 12, 3, 768),
        "base": (768, 12, 12, 3072),
        "large": (1024, 24, 16, 4096),
    }
)


def uni_perceiver(
    size: str = "base",
    *,
    image: int = 160,
    patch: int = 16,
    text: Part | None = None,
    context: int = 512,
    layer_scale: float | None = 1e-3,
    drop_path: float = 0.1,
) -> Part:
    """A Model part for pictures and texts; :class:`~unimodal.objectives.likelihood.Likelihood` compares what it makes.

    The learned token in front of every sequence is SPE. Texts are not read in causal order, or it would see none of
    them. The last row of the words (49410) is the symbol of a blank. CLIP's encoding puts a start in front of texts,
    which the released code leaves out.

    Args:
        size: tiny, base or large.
        image: Side of the pictures in px; others are served by resampling the places.
        patch: Patch size in px.
        text: The text tokenizer, or None for CLIP's byte pairs with a row for the blank.
        context: Most tokens of a text.
        layer_scale: Initial value of the trained factors on the branches, or None.
        drop_path: Stochastic depth, of every layer alike.

    Raises:
        ValueError: an unknown size, or an image that is no multiple of the patch.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, not {size!r}")
    if image % patch:
        raise ValueError(f"image must be a multiple of patch {patch} px, not {image}")
    dim, depth, heads, hidden = _SIZES[size]
    tokenizers, cells = catalog("tokenizers"), image // patch
    text = text or Part(tokenizers["text"], vocabulary=49411, encoding="clip_bpe")
    core = pre_norm(depth=depth, heads=heads, hidden=hidden, eps=1e-5, layer_scale=layer_scale, final_norm=False)
    return Part(
        Model,
        dim=dim,
        tokenizers={
            "image": Part(tokenizers["image"], size=image, stem=Part(PatchStem, patch=patch)),
            "text": text.replace(context=context, causal=False),
        },
        positions={
            "image": Part(PlaceAndFrame, grid=(cells, cells), frames=8),
            "text": Part(Learned, grid=(context,), resample=False),
        },
        prefix=1,
        norm=Part(LayerNorm, eps=1e-5),
        transformer=core.replace(blocks=core.kwargs["blocks"].replace(drop_path=drop_path)),
        readout=Part(ClassToken),
        kinds=True,
    )
