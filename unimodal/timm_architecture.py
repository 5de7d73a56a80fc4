"""timm architecture: the network that a published configuration names, as timm builds it, without memory for weights.

Source: Wightman 2019, github.com/huggingface/pytorch-image-models.
"""

from typing import Any

import torch

from unimodal.conversion import Published

__all__ = ["timm_architecture"]


def timm_architecture(published: Published) -> Any:
    """The module on the meta device; converters read their numbers from it, so that timm's defaults are timm's."""
    import timm

    config = published.config
    with torch.device("meta"):
        return timm.create_model(
            config["architecture"],
            pretrained=False,
            pretrained_cfg=dict(config["pretrained_cfg"]),
            **config.get("model_args", {}),
        )
