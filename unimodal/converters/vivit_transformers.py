"""transformers' ViViT (attention over all tubelets at once): with its pooler, without it, and with a classifier.

Source: Arnab et al. 2021, arXiv:2103.15691, sec. 3.3, model 1; weights and layout: Wolf et al. 2019,
arXiv:1910.03771, github.com/huggingface/transformers, models/vivit.
"""

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.peer_clips import video_tower
from unimodal.peer_layers import class_readout, core_of, vit_layers
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import class_rows, lattice_rows

__all__ = ["vivit_transformers"]


def vivit_transformers(published: Published) -> Conversion:
    """One video tower; its readout gives logits (with a classifier), the pooler's output, or the class token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("vivit.")
    bias = config["qkv_bias"]
    places = at + "embeddings.position_embeddings"
    readout, held = class_readout(published, at)
    table = {
        **affine("tokenizers.video.stem.project", at + "embeddings.patch_embeddings.projection"),
        **lattice_rows(places, 1, "video"),
        **class_rows((at + "embeddings.cls_token",), places, 1),
        **vit_layers(at, config["num_hidden_layers"], qkv_bias=bias),
        **affine("transformer.norm", at + "layernorm"),
        **held,
    }
    core = core_of(pre_norm, published, config, qkv_bias=bias)
    frames, rows, columns = config["tubelet_size"]
    part = video_tower(
        published,
        tubelet=(frames, rows, columns),
        core=core,
        prefix=1,
        readout=readout,
        processor="VivitImageProcessor",
    )
    return Conversion({"video": Tower(part, table)})
