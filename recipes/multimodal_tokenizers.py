"""The embedded encoder of all modalities: a tokenizer for each, trained on the frozen shared core.

    python recipes/multimodal_tokenizers.py --data DIR --run DIR [--only audio ct ...] [--steps 400]

DIR (data) is the folder of recipes/multimodal_data.py. The core, its norm and the image tokenizer are those of the
embedded small_image_encoder and stay as they are. Every other tokenizer, with its kind vector, learns two things
together: to tell an input's two halves from other inputs' (unimodal.objectives.view_contrast), and, where the data
have labels, to name the class through a linear head that is thrown away. Each modality is a run of its own in
RUN/<modality>, which an interrupted command goes on with.

Measured on held-out inputs and written to RUN/<modality>/result.json, for the trained tokenizer, for the same one as
its constructor left it (random), and for a random tokenizer before a random core:
    retrieval  share of inputs whose second half is nearest to their first among all (chance: 1 / inputs)
    probe      accuracy of a logistic regression on the embedding; raw: on the input's values, squeezed to 512 numbers

When every modality is there, RUN/small_multimodal_encoder is the checkpoint that ships.
"""

import argparse
import copy
import datetime
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from multimodal_data import DATA, Data
from torch import Tensor

from unimodal.checkpoint import save
from unimodal.objectives.view_contrast import ViewContrast
from unimodal.pretrained import load
from unimodal.provenance import Provenance
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.training import Progress, cosine, fit, shuffled
from unimodal.weights_file import read_weights, write_weights

SEED, BATCH, RATE = 0, 32, 1e-3
KEEP = {
    "table": 0.7
}  # half of a row's columns says nothing about the other half; see Bahri et al. 2021, arXiv:2106.15147


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.only:
        done = options.run / name / "result.json"
        if not done.exists():
            result = train(name, DATA[name](options.data), options.run / name, options.steps)
            done.write_text(json.dumps(result, indent=1) + "\n")
        print(name, json.loads(done.read_text()), flush=True)
    if all((options.run / name / "result.json").exists() for name in DATA):
        assemble(options.run, options.steps)


def train(name: str, data: Data, folder: Path, steps: int) -> dict[str, Any]:
    """One modality's tokenizer: trained, measured beside its controls, and kept."""
    torch.manual_seed(SEED)
    model = built()
    tokenizer: Any = model.tokenizer(name)
    samples = [tokenizer.read(source) for source in data.train]
    held_out = [tokenizer.read(source) for source in data.test]
    start = copy.deepcopy(model)
    objective = ViewContrast(model.dim, keep=KEEP.get(name, 0.5))
    head = torch.nn.Linear(model.dim, max(data.train_labels) + 1)
    own = torch.nn.ModuleDict({"tokenizer": tokenizer, "objective": objective, "head": head})
    own.register_parameter("kind", model.kinds[name])
    if name in model.positions:
        own["position"] = model.positions[name]
    labels = torch.tensor(data.train_labels)
    draw = shuffled(len(samples), min(BATCH, len(samples)), SEED)

    def loss(indices: Tensor) -> Tensor:
        batch = tokenizer.collate([samples[i] for i in indices.tolist()])
        known = labels[indices] >= 0
        value = objective(model, batch)
        if not known.any():
            return value + 0 * head.weight.sum()
        return value + F.cross_entropy(head(model.embed(batch))[known], labels[indices][known])

    spent_s = fit(
        own,
        loss,
        draw,
        [torch.optim.AdamW([p for p in own.parameters() if p.requires_grad], lr=RATE, weight_decay=0.01)],
        steps=steps,
        folder=folder,
        schedule=cosine(),
        seed=SEED,
        report=lambda now: told(name, now),
        report_every=25,
    )
    torch.manual_seed(SEED)
    all_random = small_multimodal_encoder()().eval()
    figures = {
        label: measured(m, name, samples, held_out, data, objective)
        for label, m in (("trained", model), ("random tokenizer", start), ("random tokenizer and core", all_random))
    }
    figures["raw"] = raw(samples, held_out, data)
    mine = (f"tokenizers.{name}.", f"positions.{name}.", f"kinds.{name}")
    kept = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items() if k.startswith(mine)}
    write_weights(folder / "tokenizer.safetensors", kept)
    return {
        "data": data.what,
        "licence": data.licence,
        "question": data.question,
        "samples": len(samples),
        "held out": len(held_out),
        "parameters": sum(p.numel() for p in tokenizer.parameters()),
        "steps": steps,
        "minutes": round(spent_s / 60, 1),
        **figures,
    }


def built() -> Any:
    """The encoder with the image encoder's core and tokenizer, frozen, and random tokenizers for the rest."""
    model: Any = small_multimodal_encoder()()
    image: Any = load("unimodal:small_image_encoder")
    given = {k: v for k, v in image.state_dict().items() if k in model.state_dict()}
    left = set(image.state_dict()) - set(given)
    if left:
        raise ValueError(f"the image encoder has tensors that this one lacks: {sorted(left)[:3]}")
    model.load_state_dict(given, strict=False)
    for module in (model.transformer, model.tokenizers["image"], model.positions["image"]):
        module.requires_grad_(False)
    return model.eval()


@torch.no_grad()
def measured(model: Any, name: str, samples: list, held_out: list, data: Data, objective: ViewContrast) -> dict:
    """Retrieval of held-out halves, and the probe's accuracy."""
    model.eval()
    torch.manual_seed(SEED)
    tokenizer = model.tokenizer(name)
    halves: list[list[Tensor]] = [[], []]
    for i in range(0, len(held_out), BATCH):
        tokens = model.tokenize(tokenizer.collate(held_out[i : i + BATCH]))
        for half in halves:
            half.append(F.normalize(model.readout(model.transformer(objective.view(tokens))), dim=-1))
    first, second = (torch.cat(half) for half in halves)
    first, second = first - first.mean(0), second - second.mean(0)
    alike = F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).mT
    found = {"retrieval": round(float((alike.argmax(-1) == torch.arange(len(alike))).float().mean()), 4)}
    labelled = [i for i, label in enumerate(data.train_labels) if label >= 0]
    if labelled:
        x, y = (
            embedded(model, name, [samples[i] for i in labelled]),
            torch.tensor([data.train_labels[i] for i in labelled]),
        )
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

    labelled = [i for i, label in enumerate(data.train_labels) if label >= 0]
    x = torch.stack([squeezed(samples[i]) for i in labelled])
    y, wanted = torch.tensor([data.train_labels[i] for i in labelled]), torch.tensor(data.test_labels)
    found = probed(x, y, torch.stack([squeezed(sample) for sample in held_out]))
    return {"probe": round(float((found == wanted).float().mean()), 4)}


def embedded(model: Any, name: str, samples: list) -> Tensor:
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


def assemble(run: Path, steps: int) -> None:
    """Every tokenizer in one checkpoint, in half precision, with its card and curves."""
    model, results, curves = built(), {}, []
    for name in DATA:
        model.load_state_dict(read_weights(run / name / "tokenizer.safetensors"), strict=False)
        results[name] = json.loads((run / name / "result.json").read_text())
        lines = (run / name / "curve.jsonl").read_text().splitlines()
        curves += [json.dumps({"modality": name, **json.loads(line)}) for line in lines]
    card = {
        "name": "small_multimodal_encoder",
        "command": f"python recipes/multimodal_tokenizers.py --data DIR --run DIR --steps {steps}",
        "core": "small_image_encoder, frozen",
        "seed": SEED,
        "made": f"{datetime.date.today().isoformat()}, torch {torch.__version__}",
    }
    folder = run / "small_multimodal_encoder"
    provenance = Provenance({"": "trained"}, "recipes/multimodal_tokenizers.py")
    save(model, folder, part=small_multimodal_encoder(), provenance=provenance, card=card, dtype=torch.float16)
    (folder / "measured.json").write_text(json.dumps({**card, "results": results}, indent=1) + "\n")
    (folder / "curve.jsonl").write_text("\n".join(curves) + "\n")
    (folder / "README.md").write_text(page(card, results))
    print(f"written to {folder}")


def page(card: dict[str, Any], results: dict[str, dict[str, Any]]) -> str:
    """The model card."""
    minutes = sum(result["minutes"] for result in results.values())
    trained = sum(result["parameters"] for result in results.values())
    rows, retrieved = [], []
    for name, r in results.items():
        shares = [r[kind]["probe"] for kind in ("trained", "random tokenizer", "random tokenizer and core", "raw")]
        known = " | ".join(f"{100 * share:.1f}" for share in shares)
        rows.append(f"| {name} | {r['question']} | {100 * r['trained']['commonest class']:.1f} | {known} |")
        found = [r[kind]["retrieval"] for kind in ("trained", "random tokenizer", "random tokenizer and core")]
        figures = " | ".join(f"{100 * share:.1f}" for share in (1 / r["held out"], *found))
        retrieved.append(f"| {name} | {r['held out']} | {figures} |")
    data = [f"| {name} | {r['data']} | {r['samples']:,} | {r['licence']} |" for name, r in results.items()]
    return CARD.format(
        command=card["command"],
        seed=card["seed"],
        steps=next(iter(results.values()))["steps"],
        minutes=f"{minutes:.0f}",
        trained=f"{trained:,}",
        data="\n".join(data),
        probes="\n".join(rows),
        retrieved="\n".join(retrieved),
    )


CARD = """# small_multimodal_encoder

The encoder of `unimodal embed`: the core and the image tokenizer of `small_image_encoder`, frozen, and a tokenizer for
each of twelve further modalities, trained in front of it.

| | |
| --- | --- |
| Data | below; their labels trained a linear head that was thrown away |
| Command | `{command}` |
| Seed | {seed} |
| Steps | {steps} a modality, batches of 32 |
| Time | {minutes} minutes in all, one core of a shared AMD EPYC (AVX2), float32 |
| Trained parameters | {trained} (tokenizers; the core has 793,344) |

| modality | data | inputs | licence of the data |
| --- | --- | --- | --- |
{data}

Several of these licences are unknown or for research only: so are these weights.

## Measured

A logistic regression on the embeddings of held-out inputs, top-1 in percent, beside its controls: the tokenizer as it
was before training, the same before a core that was not trained either, and the input's own values squeezed to 512
numbers.

| modality | question | commonest class | **trained** | random tokenizer | random tokenizer and core | raw values |
| --- | --- | --- | --- | --- | --- | --- |
{probes}

Held-out inputs whose second half of tokens is found from the first among all others, in percent:

| modality | inputs | chance | **trained** | random tokenizer | random tokenizer and core |
| --- | --- | --- | --- | --- | --- |
{retrieved}

## Limits

The core was trained on pictures of 32 px and helps other modalities little: where the third column of figures is above
the first, a core that never saw anything does better. Tokenizers learned from hundreds or thousands of inputs for a few
minutes. The embeddings tell inputs apart and carry coarse classes; for anything that matters load a published encoder
of the modality (`unimodal embed --model`, docs/published.md). The infrared and radiograph data show few cameras and
hospitals, the voices six people, the scans a handful of patients.
"""


def told(name: str, now: Progress) -> None:
    print(f"{name}: step {now.step}/{now.steps}, loss {now.loss:.3f}, {now.left_s:.0f} s left", flush=True)


if __name__ == "__main__":
    main()
