"""Whole pictures: what a peer's processor says of pictures that are never cropped, in the image tokenizer's words."""

from typing import Any

from unimodal.conversion import Published
from unimodal.image_pyramid import COLOURS

__all__ = ["whole_pictures"]


def whole_pictures(published: Published) -> dict[str, Any]:
    """Pictures keep their size, up to the longest side of the peer's processor."""
    from PIL.Image import Resampling

    given = published.preprocessor
    edge, normal = given.get("size", {}).get("longest_edge", 1333), given.get("do_normalize", True)
    return {
        "fit": "inside",
        "size": (edge, edge),
        "crop_fraction": 1.0,
        "mean": tuple(given.get("image_mean", COLOURS["mean"])) if normal else (0.0, 0.0, 0.0),
        "std": tuple(given.get("image_std", COLOURS["std"])) if normal else (1.0, 1.0, 1.0),
        "resample": Resampling(int(given.get("resample", Resampling.BILINEAR))).name.lower(),
    }
