"""From ResNet to ConvNeXt in twelve steps, each a setting of parts, with its accuracy; and ConvNeXt's atto.

    python -m benchmarks.convnext_roadmap [--only roadmap|digits] [--steps 300] [--digit-steps 180] [--save]

Liu et al. 2022, arXiv:2201.03545, section 2 and figure 2, at a quarter of the width and a third of the depth. The
networks are trained on 20,000 of CIFAR-10's pictures of 32 px (``cifar10/*.parquet`` with ``image`` and ``label``) and
tested on 5,000 others, all with one seed, rate and number of steps: the paper's own order of the accuracies, on
ImageNet after 300 epochs, is not to be expected from that. Where ResNet shrinks the lattice within a block, here its
projection (1 x 1, stride 2, norm) shrinks it in front of the block. Goal: 30 % at each step. The recipe of size atto
learns scikit-learn's digits, scaled from 8 to 32 px. Goal: more than 95 % of the test set.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from benchmarks.classifier import flipped, learn
from benchmarks.paired import save_rows
from benchmarks.shared_data import SHARED, photos, small_digits
from unimodal.chain import Chain
from unimodal.downsampling import Downsampling
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.image_pyramid import image_pyramid
from unimodal.max_pooling import MaxPooling
from unimodal.mixers.convolution import Convolution
from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.recipes.convnext import convnext
from unimodal.residual import Residual
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.stems.patch import PatchStem
from unimodal.transformer import Transformer

__all__ = ["ROADMAP", "Setting", "after", "main", "network"]

GOAL, GOAL_DIGITS = 0.3, 0.95


@dataclass(frozen=True)
class Setting:
    """What the steps change; as it stands, ResNet-50 made small.

    Args:
        depths: Blocks of each stage.
        patches: Whether the stem is one convolution of patches, instead of a strided one and max pooling.
        depthwise: Whether the convolution of a block is depth-wise.
        width: Channels of the first stage's narrowest maps; the others have four times as many. It doubles.
        inverted: Whether a block is wide in its middle, not at its ends.
        moved_up: Whether the convolution stands in front of the first linear map, not behind it.
        kernel: Side of the convolution in cells.
        activation: A name from :mod:`unimodal.activation`.
        one_activation: Whether the one between the linear maps is the only one.
        one_norm: Whether the one behind the convolution is the only one.
        norm: Of every place.
        separate: Whether norm and convolution of 2 x 2 lie between stages, and norms behind the stem and the mean.
    """

    depths: tuple[int, ...] = (1, 1, 2, 1)
    patches: bool = False
    depthwise: bool = False
    width: int = 16
    inverted: bool = False
    moved_up: bool = False
    kernel: int = 3
    activation: str = "relu"
    one_activation: bool = False
    one_norm: bool = False
    norm: Part = Part(BatchNorm)
    separate: bool = False


ROADMAP = MappingProxyType(
    {
        "ResNet": {},
        "stages 1:1:3:1": {"depths": (1, 1, 3, 1)},
        "patches": {"patches": True},
        "depth-wise": {"depthwise": True},
        "wider": {"width": 24},
        "inverted": {"inverted": True},
        "moved up": {"moved_up": True},
        "7 x 7": {"kernel": 7},
        "GELU": {"activation": "gelu"},
        "one activation": {"one_activation": True},
        "one norm": {"one_norm": True},
        "layer norm": {"norm": Part(LayerNorm)},
        "separate shrinking": {"separate": True},
    }
)


def after(step: str) -> Setting:
    """The setting after this step and all before it."""
    setting = Setting()
    for name, change in ROADMAP.items():
        setting = replace(setting, **change)
        if name == step:
            return setting
    raise ValueError(f"step must be one of {', '.join(ROADMAP)}, not {step!r}")


def network(setting: Setting, *, classes: int, image: int = 32) -> Part:
    """A Model part."""
    act, norm = Part(Activated, activation=setting.activation), setting.norm
    ends = setting.width if setting.inverted else 4 * setting.width
    widths = [ends * 2**i for i in range(len(setting.depths))]
    stages = [
        Part(Transformer, depth=depth, blocks=_block(setting, width))
        for depth, width in zip(setting.depths, widths, strict=True)
    ]
    shrink = {"kernel": 2, "before": norm, "behind": None} if setting.separate else {"kernel": 1, "behind": norm}
    between = [Part(Downsampling, width=width, **shrink) for width in widths[1:]]
    if not setting.patches:
        stem = Part(OverlappingPatchStem, patch=7, stride=2, padding=3)
        stages, between = [Part(Transformer, depth=1, blocks=act), *stages], [Part(MaxPooling), *between]
    else:
        stem = Part(PatchStem, patch=4)
    activated = setting.patches and not setting.one_activation
    return image_pyramid(
        widths[0],
        stem=stem,
        norm=Part(Chain, parts=(norm, act)) if activated else norm,
        stages=tuple(stages),
        between=tuple(between),
        image=image,
        readout=Part(Head, pool=Part(Mean), norm=norm if setting.separate else None, width=classes),
    )


def _block(setting: Setting, dim: int) -> Part:
    hidden = 4 * dim if setting.inverted else dim // 4
    look = Part(Depthwise if setting.depthwise else Convolution, kernel=setting.kernel)
    to_hidden, to_out = Part(Linear, width=hidden), Part(Linear, width=dim)
    act, norm = (Part(Activated, activation=setting.activation),), (setting.norm,)
    more_act, more_norm = () if setting.one_activation else act, () if setting.one_norm else norm
    if setting.moved_up:
        parts = (look, *norm, *more_act, to_hidden, *more_norm, *act, to_out, *more_norm)
    else:
        parts = (to_hidden, *norm, *act, look, *norm, *act, to_out, *norm)
    block = Part(Residual, branch=(Part(Chain, parts=parts),))
    return Part(Chain, parts=(block, *more_act)) if more_act else block


def main(arguments: list[str] | None = None) -> int:
    """Train each network, print and keep the table; the exit code says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("roadmap", "digits"))
    parser.add_argument("--data", type=Path, default=SHARED / "cifar10")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--digit-steps", type=int, default=180)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows: dict[str, list[dict[str, Any]]] = {}
    if options.only in (None, "digits"):
        _, row = learn(convnext("atto", image=32, classes=10), small_digits(), steps=options.digit_steps)
        rows["digits"] = [{"candidate": "atto", **row}]
        print(rows["digits"][0], flush=True)
    if options.only in (None, "roadmap"):
        train, test = (photos(options.data, split, count) for split, count in (("train", 20000), ("test", 5000)))
        rows["roadmap"] = []
        for step in ROADMAP:
            _, row = learn(network(after(step), classes=10), (*train, *test), steps=options.steps, augment=flipped)
            rows["roadmap"].append({"candidate": step, **row})
            print(rows["roadmap"][-1], flush=True)
    if options.save:
        print(*(save_rows(f"convnext_roadmap-{name}", table) for name, table in rows.items()), sep="\n")
    goals = {"digits": GOAL_DIGITS, "roadmap": GOAL}
    return int(any(row["accuracy"] <= goals[name] for name, table in rows.items() for row in table))


if __name__ == "__main__":
    sys.exit(main())
