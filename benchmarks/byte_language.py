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

__all__ = ["BYTES", "NextToken", "documentation", "learn", "of_bytes", "trained"]

BYTES = 256


def documentation() -> tuple[Tensor, Tensor]:
    """The bytes to learn from, and those that are held out (the last tenth)."""
    from pydoc_data.topics import topics

    text = torch.frombuffer(bytearray("\n".join(topics[key] for key in sorted(topics)).encode()), dtype=torch.uint8)
    cut = len(text) * 9 // 10
    return text[:cut].long(), text[cut:].long()


class NextToken(nn.Module):
    """Logits of the next token: an embedding, a core in causal order, and the embedding again.

    Shapes:
        x: (B, N) ids;  returns (B, N, vocabulary).
    """

    def __init__(self, vocabulary: int, dim: int, core: Part) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)
        self.core = core(dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = Tokens(self.embed(x), Side(causal=True, grid=(x.shape[1],)))
        return self.core(tokens).x @ self.embed.weight.T


def of_bytes(dim: int, *, depth: int, blocks: Part | tuple[Part, ...]) -> NextToken:
    """A model of bytes: blocks, and a norm behind them."""
    return NextToken(BYTES, dim, Part(Transformer, depth=depth, blocks=blocks, norm=Part(LayerNorm)))


def trained(model: nn.Module, batches: Iterator[Tensor], *, steps: int, rate: float) -> Iterator[tuple[float, float]]:
    """Train on ``batches`` (B, N + 1): after each step its loss (nats) and the size of its gradient.

    AdamW; its rate rises over the first tenth of the steps and falls along a cosine.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    shape = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    for _, x in zip(range(steps), batches, strict=False):
        loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        size = float(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        optimiser.step()
        shape.step()
        yield loss.item(), size


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
        rate: See :func:`trained`.
    """
    torch.manual_seed(seed)
    model, (own, held) = of_bytes(dim, depth=depth, blocks=blocks), documentation()
    draw, curve, norms, begun = torch.Generator().manual_seed(seed), [], [], time.process_time()
    batches = _batches(own, context + 1, rows, draw)
    for step, (loss, size) in enumerate(trained(model, batches, steps=steps, rate=rate), start=1):
        norms.append(size)
        if step % 50 == 0 or step == steps:
            curve.append({"step": step, "loss": round(loss, 4)})
            print(f"\r{name}, seed {seed}: step {step} of {steps}, loss {loss:.3f}", end="", file=sys.stderr)
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
