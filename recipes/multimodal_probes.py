"""What embeddings know: a linear probe on held-out inputs, halves of inputs found again, and a probe on raw values."""

from typing import Any

import torch
import torch.nn.functional as F
from multimodal_data import Data
from torch import Tensor

from unimodal.objectives.view_contrast import ViewContrast

__all__ = ["embedded", "measured", "probed", "raw"]

BATCH, SEED = 32, 0


@torch.no_grad()
def measured(model: Any, name: str, samples: list, held_out: list, data: Data, keep: float = 0.5) -> dict[str, float]:
    """Retrieval of held-out halves, and the probe's accuracy.

    Args:
        samples: The training inputs as the model's tokenizer reads them; ``held_out`` the test's.
        keep: Share of an input's tokens in a half.
    """
    model.eval()
    torch.manual_seed(SEED)
    tokenizer, contrast = model.tokenizer(name), ViewContrast(model.dim, keep=keep)
    halves: list[list[Tensor]] = [[], []]
    for i in range(0, len(held_out), BATCH):
        tokens = model.tokenize(tokenizer.collate(held_out[i : i + BATCH]))
        for half in halves:
            half.append(F.normalize(model.readout(model.transformer(contrast.view(tokens))), dim=-1))
    first, second = (torch.cat(half) for half in halves)
    first, second = first - first.mean(0), second - second.mean(0)
    alike = F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).mT
    found = {"retrieval": round(float((alike.argmax(-1) == torch.arange(len(alike))).float().mean()), 4)}
    asked = _asked(data)
    x, y = embedded(model, name, [samples[i] for i in asked]), torch.tensor([data.train_labels[i] for i in asked])
    test, wanted = embedded(model, name, held_out), torch.tensor(data.test_labels)
    found["probe"] = round(float((probed(x, y, test) == wanted).float().mean()), 4)
    found["commonest class"] = round(float((wanted == y.mode().values).float().mean()), 4)
    return found


def raw(samples: list, held_out: list, data: Data) -> dict[str, float]:
    """The probe on what the tokenizer gets: each input's values in their order, squeezed to 512 by averaging."""

    def squeezed(sample: Any) -> Tensor:
        held = sample.data
        parts = held.values() if isinstance(held, dict) else held if isinstance(held, tuple) else [held]
        flat = max((t for t in parts if isinstance(t, Tensor)), key=lambda t: t.numel()).float().nan_to_num().flatten()
        return F.interpolate(flat[None, None], 512, mode="linear" if len(flat) < 512 else "area")[0, 0]

    asked = _asked(data)
    x = torch.stack([squeezed(samples[i]) for i in asked])
    y, wanted = torch.tensor([data.train_labels[i] for i in asked]), torch.tensor(data.test_labels)
    found = probed(x, y, torch.stack([squeezed(sample) for sample in held_out]))
    return {"probe": round(float((found == wanted).float().mean()), 4)}


def embedded(model: Any, name: str, samples: list) -> Tensor:
    """One vector an input."""
    tokenizer = model.tokenizer(name)
    return torch.cat([model.embed(tokenizer.collate(samples[i : i + BATCH])) for i in range(0, len(samples), BATCH)])


def probed(x: Tensor, y: Tensor, test: Tensor) -> Tensor:
    """Classes of ``test`` by a logistic regression on standardised features, weight decay 1e-3."""
    mean, scale = x.mean(0), x.std(0) + 1e-6
    x, test = (x - mean) / scale, (test - mean) / scale
    with torch.enable_grad():
        head = torch.nn.Linear(x.shape[1], int(y.max()) + 1)
        torch.nn.init.zeros_(head.weight)
        solver = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            solver.zero_grad()
            loss = F.cross_entropy(head(x), y) + 1e-3 * head.weight.square().sum()
            loss.backward()
            return loss

        solver.step(closure)
    return head(test).argmax(-1)


def _asked(data: Data) -> list[int]:
    """The training inputs whose class the test has."""
    return [i for i, label in enumerate(data.train_labels) if label in set(data.test_labels)]
