"""Claim: every pyramid is as fast as the library's network whose weights it took, or faster; one thread, float32.

    python -m benchmarks.pyramids [--only NAME ...] [--pixels 224] [--batch 1] [--rounds 11] [--save]

Networks of timm and transformers in their published sizes, with random weights and norms as if trained, are saved as
the library saves them and loaded here; the logits are compared first. Then rounds of the library's network, ours as it
is, and ours for use (norms in the maps beside them, weights in the processor's own layout), each of pixels to logits.
Exit code 1 if ours as it is takes longer for one of them, 75 if the machine is too noisy to say.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import unimodal
from benchmarks.paired import compare, save_rows
from unimodal.prepack import prepack
from unimodal.reparameterize import reparameterize
from unimodal.sample import Batch

__all__ = ["main"]

OURS, FOR_USE = "ours", "ours for use"
TIMM = {
    "swin": "swin_tiny_patch4_window7_224",
    "convnext": "convnext_tiny",
    "convnext_v2": "convnextv2_tiny",
    "pvt_v2": "pvt_v2_b1",
    "next_vit": "nextvit_small",
}
TRANSFORMERS = {"swin": "Swin", "convnext": "ConvNext", "pvt": "Pvt", "pvt_v2": "PvtV2", "cvt": "Cvt"}
NAMES = (*(f"{name}_timm" for name in TIMM), *(f"{name}_transformers" for name in TRANSFORMERS))


def settled(peer: Any) -> Any:
    """Weights that keep sizes, norms and scales with arbitrary numbers, as if trained."""
    for name, tensor in (*peer.named_parameters(), *peer.named_buffers()):
        if not tensor.is_floating_point():
            continue
        if name.endswith("running_var"):
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
        elif tensor.ndim > 1 and name.endswith("weight"):
            torch.nn.init.normal_(tensor, std=0.5 * tensor[0].numel() ** -0.5)
        elif tensor.ndim == 1:
            torch.nn.init.normal_(tensor, mean=float(name.endswith(("weight", "gamma", "parameter"))), std=0.1)
    return peer.eval()


def twins(name: str) -> tuple[Callable[[Tensor], Tensor], Any]:
    """A library's network as a function of pixels, and ours with its weights."""
    torch.manual_seed(0)
    family, _, library = name.rpartition("_")
    with tempfile.TemporaryDirectory() as folder:
        if library == "timm":
            import timm

            peer = settled(timm.create_model(TIMM[family]))
            timm.models.save_for_hf(peer, folder, safe_serialization=True)
            return peer, unimodal.load(f"timm:{folder}")
        import transformers

        transformers.utils.logging.disable_progress_bar()
        word = TRANSFORMERS[family]
        config = getattr(transformers, f"{word}Config")(num_labels=1000)
        whole = settled(getattr(transformers, f"{word}ForImageClassification")(config))
        whole.save_pretrained(folder)
        return lambda pixels: whole(pixels).logits, unimodal.load(f"transformers:{folder}")


def main(arguments: list[str] | None = None) -> int:
    """Compare outputs, time each pair, print a row a network; the exit code says whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pixels = torch.randn(options.batch, 3, options.pixels, options.pixels)
    batch, shape = Batch("image", pixels), f"{options.batch}x3x{options.pixels}x{options.pixels}"
    rows: list[dict[str, Any]] = []
    codes = []
    print("| network | library ms | ratio (q1-q3) | for use (q1-q3) | largest gap of logits |")
    print("| --- | --- | --- | --- | --- |")
    with torch.inference_mode():
        for name in options.only:
            theirs, ours = twins(name)
            deployed: Any = prepack(reparameterize(ours))
            wanted = theirs(pixels)
            gap = max(float((model.embed(batch) - wanted).abs().max()) for model in (ours, deployed))
            torch.testing.assert_close(ours.embed(batch), wanted, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(deployed.embed(batch), wanted, rtol=1e-5, atol=1e-5)
            library = name.rpartition("_")[2]
            runs = {
                library: lambda theirs=theirs: theirs(pixels),
                OURS: lambda ours=ours: ours.embed(batch),
                FOR_USE: lambda deployed=deployed: deployed.embed(batch),
            }
            report = compare(
                "pyramids", runs, base=library, rounds=options.rounds, network=name, shape=shape, threads=1, gap=gap
            )
            codes.append(report.verdict(OURS, target=1.0).exit_code)
            rows += report.rows()
            peer_ms = 1e3 * statistics.median(report.timings[library].cpu_s)
            said = " | ".join(_quartiles(report.timings[candidate].ratios) for candidate in (OURS, FOR_USE))
            print(f"| {name} | {peer_ms:.1f} | {said} | {gap:.1e} |", flush=True)
    if options.save:
        print(save_rows("pyramids", rows))
    return 1 if 1 in codes else max(codes)


def _quartiles(ratios: tuple[float, ...]) -> str:
    q1, median, q3 = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{median:.3f} ({q1:.3f}-{q3:.3f})"


if __name__ == "__main__":
    sys.exit(main())
