"""A ViT's forward pass beside timm's and transformers', with the same weights, in float32 on one thread.

    python -m benchmarks.encoder [--model tiny|small|base] [--batch 8] [--rounds 15] [--save]

``unimodal`` runs as loaded, ``unimodal, prepacked`` after :func:`unimodal.prepack.prepack`. The ratio of each candidate
is the CPU time of timm over its own; the goal is at least 1.0 against the faster of both peers.
"""

import argparse
import sys
import tempfile
from typing import Any

import torch

import unimodal
from benchmarks.paired import compare
from unimodal.prepack import prepack
from unimodal.sample import Batch

__all__ = ["main"]

# width, depth, heads; base is cut to four blocks
SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 4, 12)}
GOAL = 1.0


def peers(width: int, depth: int, heads: int) -> tuple[Any, Any, Any]:
    """transformers' ViT with random weights, timm's and ours with the same."""
    import timm
    import transformers

    config = transformers.ViTConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        layer_norm_eps=1e-6,
    )
    theirs = transformers.ViTModel(config, add_pooling_layer=False).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = unimodal.load(f"transformers:{folder}")
    other = timm.create_model(
        "vit_tiny_patch16_224", embed_dim=width, depth=depth, num_heads=heads, num_classes=0
    ).eval()
    other.load_state_dict(as_timm(ours, theirs))
    return theirs, other, ours


def as_timm(ours: Any, theirs: Any) -> dict[str, torch.Tensor]:
    """Our tensors under timm's names; the class token and its position come from the peer, where they are apart."""
    words = {
        "transformer.": "",
        "norm_mixer": "norm1",
        "norm_ffn": "norm2",
        "mixer.to_qkv": "attn.qkv",
        "mixer.to_out": "attn.proj",
        "ffn.to_hidden": "mlp.fc1",
        "ffn.to_out": "mlp.fc2",
        "tokenizers.image.stem.project": "patch_embed.proj",
    }
    state = {}
    for name, tensor in ours.state_dict().items():
        for word, replacement in words.items():
            name = name.replace(word, replacement)
        state[name] = tensor
    del state["prefix.tokens"], state["positions.image.table"]
    embeddings = theirs.embeddings
    return state | {
        "cls_token": embeddings.cls_token.detach(),
        "pos_embed": embeddings.position_embeddings.detach(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the table; the exit code says whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    width, depth, heads = SIZES[options.model]
    theirs, other, ours = peers(width, depth, heads)
    packed = prepack(ours)
    pixels = torch.randn(options.batch, 3, 224, 224)
    batch = Batch("image", pixels)
    candidates = {
        "transformers": lambda: theirs(pixels).last_hidden_state,
        "timm": lambda: other.forward_features(pixels),
        "unimodal": lambda: ours(batch).x,
        "unimodal, prepacked": lambda: packed(batch).x,
    }
    with torch.inference_mode():
        outputs = {name: run() for name, run in candidates.items()}
        for name, output in outputs.items():
            worst = (output - outputs["timm"]).abs().max() / outputs["timm"].abs().max()
            assert worst < 1e-5, f"{name} differs from timm by {worst:.1e} of the largest value"
        report = compare(
            f"encoder-vit-{options.model}",
            candidates,
            base="timm",
            rounds=options.rounds,
            shape=list(pixels.shape),
            width=width,
            depth=depth,
            dtype="float32",
            threads=1,
        )
        middle = options.rounds // 2
        faster = max(sorted(report.timings["transformers"].ratios)[middle], 1.0)
        verdict = report.verdict("unimodal, prepacked", GOAL * faster)  # may measure once more
    print(report.table())
    print(f"faster peer: {faster:.3f} of timm; prepacked {verdict.outcome}: {verdict.reason}")
    if options.save:
        print(report.save())
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
