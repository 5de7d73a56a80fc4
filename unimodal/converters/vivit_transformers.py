"""transformers' ViViT (attention over all tubelets at once): with its pooler, without it, and with a classifier.

Source: Arnab et al. 2021, arXiv:2103.15691, sec. 3.3, model 1; weights and layout: Wolf et al. 2019,
arXiv:1910.03771, github.com/huggingface/transformers, models/vivit.
"""

from unimodal.conversion import Conversion, Published, Tower, affine
from unimodal.part import Part
from unimodal.peer_clips import video_tower
from unimodal.peer_settings import activation
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import blocks, class_rows, lattice_rows

__all__ = ["vivit_transformers"]


def vivit_transformers(published: Published) -> Conversion:
    """One video tower; its readout gives logits (with a classifier), the pooler's output, or the class token.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, published.under("vivit.")
    layer = at + "encoder.layer.{}."
    attention = layer + "attention.attention."
    depth, bias = config["num_hidden_layers"], config["qkv_bias"]
    places = at + "embeddings.position_embeddings"
    table = {
        **affine("tokenizers.video.stem.project", at + "embeddings.patch_embeddings.projection"),
        **lattice_rows(places, 1, "video"),
        **class_rows((at + "embeddings.cls_token",), places, 1),
        **blocks(
            depth,
            {
                "norm_mixer": layer + "layernorm_before",
                "mixer.to_qkv": (attention + "query", attention + "key", attention + "value"),
                "mixer.to_out": layer + "attention.output.dense",
                "norm_ffn": layer + "layernorm_after",
                "ffn.to_hidden": layer + "intermediate.dense",
                "ffn.to_out": layer + "output.dense",
            },
            qkv_bias=bias,
        ),
        **affine("transformer.norm", at + "layernorm"),
    }
    readout = Part(ClassToken)
    if "classifier.weight" in published.weights:
        readout = Part(Head, pool=readout, width=len(published.weights["classifier.weight"]))
        table |= affine("readout.project", "classifier")
    elif f"{at}pooler.dense.weight" in published.weights:
        act, width = activation(published, config["pooler_act"]), config["pooler_output_size"]
        readout = Part(Head, pool=readout, width=width or config["hidden_size"], activation=act)
        table |= affine("readout.project", f"{at}pooler.dense")
    core = pre_norm(
        depth=depth,
        heads=config["num_attention_heads"],
        hidden=config["intermediate_size"],
        activation=activation(published, config["hidden_act"]),
        eps=config["layer_norm_eps"],
        qkv_bias=bias,
    )
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
