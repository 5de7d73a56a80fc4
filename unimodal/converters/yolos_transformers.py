"""transformers' YOLOS: a plain ViT with detection tokens.

Source: Fang et al. 2021, arXiv:2106.00666; weights and layout: Wolf et al. 2019, arXiv:1910.03771, github.com/
huggingface/transformers, models/yolos.
"""

import torch
from torch import Tensor

from unimodal.conversion import Conversion, From, Published, Tower, affine
from unimodal.detector import Detector
from unimodal.part import Part
from unimodal.peer_layers import core_of, vit_layers
from unimodal.peer_settings import image_tower
from unimodal.recipes.pre_norm import pre_norm
from unimodal.renaming import patches
from unimodal.whole_pictures import whole_pictures

__all__ = ["yolos_transformers"]


def yolos_transformers(published: Published) -> Conversion:
    """One image tower, a :class:`~unimodal.detector.Detector`; detection tokens hold their position vectors.

    Pictures keep their size, up to the longest side of the peer's processor, which also enlarges small ones.

    Raises:
        CheckpointError: a setting needs a part that the core does not have, or tensors do not fit.
    """
    config, at = published.config, "vit.embeddings."
    published.require("use_mid_position_embeddings", config["use_mid_position_embeddings"], False)
    queries, bias = config["num_detection_tokens"], config["qkv_bias"]
    core = core_of(pre_norm, published, config, qkv_bias=bias)
    tower = image_tower(published, config, core=core, prefix=1 + queries, readout=None)
    image = tower.kwargs["tokenizers"]["image"].replace(**whole_pictures(published))
    classes = len(published.weights["class_labels_classifier.layers.2.weight"]) - 1
    part = Part(Detector, encoder=tower.replace(tokenizers={"image": image}), classes=classes, queries=queries)

    def fold(first: Tensor, rest: Tensor, places: Tensor) -> Tensor:
        return torch.cat([first[0] + places[0, :1], rest[0] + places[0, -queries:]])

    table = f"{at}position_embeddings"
    own = {
        **patches(at + "patch_embeddings.projection"),
        "positions.image.table": From((table,), lambda t: t[0, 1:-queries].contiguous()),
        "prefix.tokens": From((at + "cls_token", at + "detection_tokens", table), fold),
        **vit_layers("vit.", config["num_hidden_layers"], qkv_bias=bias),
        **affine("transformer.norm", "vit.layernorm"),
    }
    names = {f"encoder.{ours}": origin for ours, origin in own.items()}
    for i in range(3):
        names |= affine(f"to_classes.{i}", f"class_labels_classifier.layers.{i}")
        names |= affine(f"to_boxes.{i}", f"bbox_predictor.layers.{i}")
    return Conversion({"image": Tower(part, names)})
