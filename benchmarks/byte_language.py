"""A small causal language model over the bytes of the documentation that every Python carries: what a block learns.

The text is :data:`pydoc_data.topics.topics` (465,000 characters, licence of the Python Software Foundation), its last
tenth held out. What is compared is one block part against another: everything else is the same, also the batches.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["ByteLanguageModel", "documentation", "learn"]

BYTES = 256


def documentation() -> tuple[Tensor, Tensor]:
    """The bytes to learn from, and those that are held out (the last tenth)."""
    from pydoc_data.topics import topics

    text = torch.frombuffer(bytearray("\n".join(topics[key] for key in sorted(topics)).encode()), dtype=torch.uint8)
    cut = len(text) * 9 // 10
    return text[:cut].long(), text[cut:].long()


class ByteLanguageModel(nn.Module):
    """Logits of the next byte: an embedding, blocks in causal order, a norm, and the embedding again.

    Shapes:
        x: (B, N) bytes;  returns (B, N, 256).
    """

    def __init__(self, dim: int, *, depth: int, blocks: Part | tuple[Part, ...]) -> None:
        super().__init__()
        self.embed = nn.Embedding(BYTES, dim)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)
        self.transformer = Transformer(dim, depth=depth, blocks=blocks, norm=Part(LayerNorm))

    def forward(self, x: Tensor) -> Tensor:
        tokens = Tokens(self.embed(x), Side(causal=True, grid=(x.shape[1],)))
        return self.transformer(tokens).x @ self.embed.weight.T


def learn(
    name: str,
    blocks: Part | tuple[Part, ...],
    *,
    seed: int,
    steps: int,
    dim: int = 96,
    depth: int = 3,
    context: int = 128,
    rows: int = 16,
    rate: float = 2e-3,
) -> dict[str, Any]:
    """Train from scratch, and say what was learned: bits a byte on held-out text, the curve, the time.

    Args:
        name: For the progress line.
        blocks: See :class:`unimodal.transformer.Transformer`.
        seed: Of the weights and of the batches.
        rate: Of AdamW; it rises over the first tenth of the steps and falls along a cosine.
    """
    torch.manual_seed(seed)
    model, (own, held) = ByteLanguageModel(dim, depth=depth, blocks=blocks), documentation()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    shape = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    draw, curve, norms, begun = torch.Generator().manual_seed(seed), [], [], time.process_time()
    for step, x in zip(range(steps), _batches(own, context + 1, rows, draw), strict=False):
        loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimiser.step()
        shape.step()
        if step % 50 == 49 or step == steps - 1:
            curve.append({"step": step + 1, "loss": round(float(loss.detach()), 4)})
            print(f"\r{name}, seed {seed}: step {step + 1} of {steps}, loss {loss:.3f}", end="", file=sys.stderr)
    spent, bits = time.process_time() - begun, _bits(model, held, context)
    print(f"\r{name}, seed {seed}: {bits:.3f} bits a byte on held-out text, {spent:.0f} s of CPU", file=sys.stderr)
    spread = torch.tensor(norms)
    return {
        "seed": seed,
        "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters()),
        "bits_a_byte": round(bits, 4),
        "gradient_norm_mean": round(float(spread.mean()), 4),
        "gradient_norm_std": round(float(spread.std()), 4),
        "cpu_s": round(spent, 1),
        "curve": curve,
    }


def _batches(text: Tensor, length: int, rows: int, draw: torch.Generator) -> Iterator[Tensor]:
    while True:
        start = torch.randint(len(text) - length, (rows, 1), generator=draw)
        yield text[start + torch.arange(length)]


@torch.inference_mode()
def _bits(model: nn.Module, text: Tensor, context: int) -> float:
    rows = text[: len(text) // (context + 1) * (context + 1)].view(-1, context + 1)
    losses = [
        F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten(), reduction="none") for x in rows.split(32)
    ]
    return float(torch.cat(losses).mean()) / 0.6931471805599453
