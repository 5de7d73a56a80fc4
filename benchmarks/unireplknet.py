"""UniRepLKNet in its form for use beside the form it was trained in; one thread, float32, no gradients.

    python -m benchmarks.unireplknet [--size a] [--pixels 224] [--batch 1] [--rounds 15] [--save]

The whole network, and its large-kernel mixer alone on the second and third stage's lattices. Goal: the mixer at least
1.5 times as fast once its six branches are one kernel. The network, whose time goes into its feed-forwards, is told
beside it. Outputs are compared first.
"""

import argparse
import sys
from typing import Any

import torch

from benchmarks.paired import compare
from unimodal.mixers.dilated_reparam import DilatedReparam
from unimodal.recipes.unireplknet import unireplknet
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch
from unimodal.side import Side

__all__ = ["main"]

TRAINED, DEPLOYED, GOAL = "as trained", "deployed", 1.5


def settled(module: Any) -> Any:
    """Norms with arbitrary averages, as if trained."""
    for name, buffer in module.named_buffers():
        torch.nn.init.uniform_(buffer, 0.5, 1.5) if name.endswith("var") else torch.nn.init.normal_(buffer, std=0.1)
    return module.eval()


def main(arguments: list[str] | None = None) -> int:
    """Assert that both forms agree, time them, print the tables; the exit code says whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="a")
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    codes = []
    with torch.inference_mode():
        model = settled(unireplknet(options.size, classes=1000)())
        deployed: Any = reparameterize(model)
        batch = Batch("image", torch.randn(options.batch, 3, options.pixels, options.pixels))
        torch.testing.assert_close(deployed.embed(batch), model.embed(batch), rtol=0, atol=1e-5)
        shape = f"{options.batch}x3x{options.pixels}x{options.pixels}"
        report = compare(
            f"unireplknet-{options.size}-{options.batch}",
            {TRAINED: lambda: model.embed(batch), DEPLOYED: lambda: deployed.embed(batch)},
            base=TRAINED,
            rounds=options.rounds,
            shape=shape,
            threads=1,
        )
        print(f"network {options.size}, {shape}\n{report.table()}\n")
        reports = [report]
        for i in (1, 2):
            width, cells = model.transformer.widths[i + 1], -(-options.pixels // (4 * model.transformer.strides[i + 1]))
            mixer, side = settled(DilatedReparam(width)), Side(grid=(cells, cells))
            one, x = mixer.deployed(), torch.randn(options.batch, cells * cells, width)
            torch.testing.assert_close(one(x, side), mixer(x, side), rtol=0, atol=1e-5)
            shape = f"{options.batch}x{cells}x{cells}x{width}"

            def run(part: Any, x: torch.Tensor = x, side: Side = side) -> None:
                for _ in range(20):
                    part(x, side)

            report = compare(
                f"unireplknet-mixer-{width}-{options.batch}",
                {TRAINED: lambda run=run, part=mixer: run(part), DEPLOYED: lambda run=run, part=one: run(part)},
                base=TRAINED,
                rounds=options.rounds,
                shape=shape,
                threads=1,
                calls=20,
            )
            verdict = report.verdict(DEPLOYED, target=GOAL)
            print(
                f"mixer of stage {i + 1}, {shape}, 20 calls: {verdict.outcome} ({verdict.reason})\n{report.table()}\n"
            )
            codes.append(verdict.exit_code)
            reports.append(report)
    if options.save:
        print(*(report.save() for report in reports), sep="\n")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
