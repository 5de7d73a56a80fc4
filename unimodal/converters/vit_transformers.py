"""transformers' ViT: the model with its pooler, without it, and with a classifier.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929; weights and layout: Wolf et al. 2019, arXiv:1910.03771,
github.com/huggingface/transformers, models/vit.
"""

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.peer_layers import class_readout, core_of, vit_layers
from unimodal.peer_settings import image_tower
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import class_rows, lattice_rows, patches

__all__ = ["vit_transformers"]


def vit_transformers(published: Published) -> Conversion:
    """One image tower; its readout gives logits (with a classifier), the pooler's output, or the class token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("vit.")
    bias = config["qkv_bias"]
    readout, held = class_readout(published, at)
    table = {
        **patches(at + "embeddings.patch_embeddings.projection"),
        **lattice_rows(at + "embeddings.position_embeddings", 1),
        **class_rows((at + "embeddings.cls_token",), at + "embeddings.position_embeddings", 1),
        **vit_layers(at, config["num_hidden_layers"], qkv_bias=bias),
        **affine("transformer.norm", at + "layernorm"),
        **held,
    }
    core = core_of(pre_norm, published, config, qkv_bias=bias)
    part = image_tower(published, config, core=core, prefix=1, readout=readout)
    aside = {at + "embeddings.mask_token": "stands for hidden patches in pre-training only"}
    return Conversion({"image": Tower(part, table)}, aside)
