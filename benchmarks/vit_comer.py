"""ViT-CoMer sees objects smaller than a patch that a plain ViT does not; its attention is faster than transformers'.

    python -m benchmarks.vit_comer [--only learning|speed] [--steps 100] [--save]

Learning: pictures of 64 x 64 px of noise with three shapes of any colour (disc, square, cross) which may overlap; each
pixel's class is the shape or none. A plain ViT of four blocks (width 192, patches of 16 px) and the same one with the
adapter are trained for as many steps on the same pictures. A linear map reads the ViT's tokens, in the other case each
of the four levels, and its logits are resized bilinearly to the pixels. Test pictures have shapes of 5 to 9 px only, or
of 14 to 28 px. Goal: on the small ones a mean IoU of the shapes at least 0.1 above the plain ViT's.

Speed: forward pass of the deformable attention on the 1029 tokens of three levels (28, 14 and 7 cells a side), width
384, 6 heads of 4 points, against transformers' on the same weights, one thread; and a training step. Goal: a ratio of
one in both.
"""

import argparse
import sys
import time
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from benchmarks.descent import descend
from benchmarks.paired import compare, save_rows
from benchmarks.segmenter import Segmenter, mean_iou
from unimodal.inherit import inherit
from unimodal.mixers.deformable import Deformable
from unimodal.recipes.vit import vit
from unimodal.recipes.vit_comer import vit_comer
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["main"]

SIDE, BATCH, GAIN = 64, 16, 0.1
SMALL, LARGE = (5, 9), (14, 28)
LEVELS = ((28, 28), (14, 14), (7, 7))


def shapes(count: int, sizes: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (count, 3, 64, 64) with a disc, a square and a cross each, and the classes of their pixels."""
    draw = torch.Generator().manual_seed(seed)
    pixels = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=draw)
    classes = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for shape in range(3):
        radius = (torch.randint(sizes[0], sizes[1] + 1, (count, 1, 1), generator=draw)) / 2
        u, v = (n - 6 - torch.rand(count, 1, 1, generator=draw) * (SIDE - 12) for n in (y, x))
        square = torch.maximum(u.abs(), v.abs()) <= radius
        narrow = torch.minimum(u.abs(), v.abs()) <= radius / 4
        within = (u**2 + v**2 <= radius**2, square, square & narrow)[shape]
        colour = torch.randn(count, 3, generator=draw)
        colour = 1.5 * colour / colour.norm(dim=1, keepdim=True)
        pixels = torch.where(within[:, None], colour[..., None, None] + 0.2 * pixels, pixels)
        classes = torch.where(within, shape + 1, classes)
    return pixels, classes


def segmenters() -> dict[str, Segmenter]:
    """Both, with equal weights where both have them."""
    plain = vit("tiny", image=SIDE, readout=None)
    plain = plain.replace(transformer=plain.kwargs["transformer"].replace(depth=4))
    torch.manual_seed(0)
    alone: Any = plain()
    adapted: Any = vit_comer("tiny", encoder=plain)()
    inherit(adapted, alone)
    return {"vit": Segmenter(alone, 0, 4), "vit_comer": Segmenter(adapted, 4, 4)}


def learn(name: str, net: Segmenter, steps: int) -> dict[str, Any]:
    """Train on pictures of all sizes, then test on small shapes and on large ones."""
    start = time.process_time()

    def loss(step: int) -> Tensor:
        halves = [shapes(BATCH // 2, sizes, 2 * step + i) for i, sizes in enumerate((SMALL, LARGE), 10)]
        pixels, classes = (torch.cat(part) for part in zip(*halves, strict=True))
        return F.cross_entropy(net(pixels), classes, weight=torch.tensor([0.2, 1.0, 1.0, 1.0]))

    losses = list(descend(net.train().parameters(), loss, steps=steps, rate=1e-3))
    net.eval()
    return {
        "candidate": name,
        "steps": steps,
        "parameters": sum(p.numel() for p in net.parameters()),
        "loss": sum(losses[-10:]) / len(losses[-10:]),
        "small_shapes_miou": mean_iou(net, *shapes(64, SMALL, 1)),
        "large_shapes_miou": mean_iou(net, *shapes(64, LARGE, 2)),
        "cpu_s": time.process_time() - start,
    }


def attentions() -> tuple[Any, Any]:
    """Ours and transformers' on the same weights, each as a function of tokens and memory."""
    from transformers import DeformableDetrConfig
    from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrMultiscaleDeformableAttention

    torch.manual_seed(0)
    ours: Any = Deformable(384, heads=6, levels=3)
    nn.init.normal_(ours.to_offset.weight, std=0.02)
    nn.init.normal_(ours.to_weight.weight, std=0.05)
    config = DeformableDetrConfig(d_model=384, num_feature_levels=3, disable_custom_kernels=True)
    theirs = DeformableDetrMultiscaleDeformableAttention(config, num_heads=6, n_points=4)
    names = {"sampling_offsets": ours.to_offset, "attention_weights": ours.to_weight}
    for name, part in {**names, "value_proj": ours.to_value, "output_proj": ours.to_out}.items():
        getattr(theirs, name).load_state_dict(part.state_dict())
    at = [
        torch.stack(torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in a), indexing="ij")[::-1], -1) for a in LEVELS
    ]
    middles = torch.cat([part.flatten(0, 1) for part in at])[None, :, None].expand(1, -1, 3, 2)
    starts = torch.tensor([0, 784, 980])

    def own(x: Tensor) -> Tensor:
        return ours(x, Side(levels=LEVELS, memory=Tokens(x, Side(levels=LEVELS))))

    def peer(x: Tensor) -> Tensor:
        given = {"spatial_shapes": torch.tensor(LEVELS), "spatial_shapes_list": list(LEVELS)}
        return theirs(x, encoder_hidden_states=x, reference_points=middles, level_start_index=starts, **given)[0]

    return own, peer


def speed(save: bool) -> bool:
    """Whether both kinds of call are at least as fast as transformers'."""
    own, peer = attentions()
    x = torch.randn(1, 1029, 384)
    fine = True

    def forward(attend: Any) -> None:
        with torch.inference_mode():
            attend(x)

    def trained(attend: Any) -> None:
        attend(x.clone().requires_grad_()).square().mean().backward()

    torch.testing.assert_close(own(x), peer(x), rtol=0, atol=1e-5)
    for kind, call in (("forward", forward), ("training", trained)):
        report = compare(
            f"deformable-{kind}",
            {"ours": lambda call=call: call(own), "transformers": lambda call=call: call(peer)},
            base="transformers",
            shape="1x1029x384",
            dtype="float32",
            threads=1,
        )
        verdict = report.verdict("ours", target=1.0)
        print(kind, report.table(), verdict, sep="\n", flush=True)
        fine &= verdict.outcome == "passed"
        if save:
            print(report.save(), flush=True)
    return fine


def main(arguments: list[str] | None = None) -> int:
    """Train and time, print and keep the tables; the exit code says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("learning", "speed"))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    fine = options.only == "learning" or speed(options.save)
    if options.only != "speed":
        rows = []
        for name, net in segmenters().items():
            rows.append({"benchmark": "vit_comer", **learn(name, net, options.steps)})
            print(rows[-1], flush=True)
        fine &= rows[1]["small_shapes_miou"] - rows[0]["small_shapes_miou"] >= GAIN
        if options.save:
            print(save_rows("vit_comer", rows), flush=True)
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
