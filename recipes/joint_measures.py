"""Measure the joint core beside its controls, and make the checkpoint that ships.

    python recipes/joint_measures.py --data DIR --run DIR

DIR (run) is that of recipes/joint_core.py; each set that was trained alone is in DIR/single/NAME (``--only NAME``);
there is no such column for a set that was not.
What is measured is kept in DIR/measures/NAME.json and not measured again. Of every modality, on held-out inputs:
    probe      accuracy of a logistic regression on the embedding (recipes/multimodal_probes.py)
    retrieval  share of inputs whose second half is nearest to their first among all (chance: 1 / inputs)
for the joint encoder, for the same model trained on that set alone, for one that was not trained, and on raw values.
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import torch
from cifar10_encoder import read
from joint_core import PICTURES, SEED, WEIGHTS
from joint_sets import SETTINGS, Pictures
from multimodal_data import DATA, UNHEARD, spoken_digits
from multimodal_probes import embedded, measured, probed, raw
from torch import Tensor

from unimodal.checkpoint import save
from unimodal.pretrained import load
from unimodal.provenance import Provenance
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.sample import Batch
from unimodal.weights_file import read_weights

PROBED = 10_000  # pictures a probe learns from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    joint, results = built(options.run), {}
    for name in ("image", *DATA):
        path = options.run / "measures" / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            found = pictures(options, joint) if name == "image" else modality(options, joint, name)
            path.write_text(json.dumps(found, indent=1) + "\n")
        results[name] = json.loads(path.read_text())
        print(name, results[name], flush=True)
    assemble(options.run, joint, results)


def built(folder: Path | None) -> Any:
    """The encoder with the weights of a run, or as its constructor leaves it."""
    torch.manual_seed(SEED)
    model: Any = small_multimodal_encoder()()
    if folder is not None:
        model.load_state_dict(read_weights(folder / "model.safetensors"))
    return model.eval()


def modality(options: Any, joint: Any, name: str) -> dict[str, Any]:
    """One modality's figures."""
    data, tokenizer = DATA[name](options.data), joint.tokenizer(name)
    samples, held_out = ([tokenizer.read(s) for s in part] for part in (data.train, data.test))
    keep = SETTINGS.get(name, {}).get("keep", 0.5)
    models, alone = {"joint": joint, "random": built(None)}, options.run / "single" / name
    if (alone / "model.safetensors").exists():
        models["single"] = built(alone)
    found: dict[str, Any] = {k: measured(m, name, samples, held_out, data, keep) for k, m in models.items()}
    found["raw"] = raw(samples, held_out, data)
    if name == "audio":
        takes = [
            (tokenizer.read(sound), digit) for part, sound, digit in spoken_digits(options.data) if part == "takes"
        ]
        known = [i for i, label in enumerate(data.train_labels) if label < 10]
        y, wanted = torch.tensor([data.train_labels[i] for i in known]), torch.tensor([digit for _, digit in takes])
        for kind, model in models.items():
            with torch.no_grad():
                x, test = (embedded(model, name, part) for part in ([samples[i] for i in known], [s for s, _ in takes]))
            found[kind]["unheard takes of known speakers"] = round(share(probed(x, y, test), wanted), 4)
    about = {"data": data.what, "licence": data.licence, "question": data.question}
    return {**about, "samples": len(samples), "held out": len(held_out), **found}


def pictures(options: Any, joint: Any) -> dict[str, Any]:
    """CIFAR-10; the single one is small_image_encoder, which the joint one began with."""
    (x, y), (test, wanted) = (
        read(options.data / "cifar10" / f"cifar10_{split}.parquet") for split in ("train", "test")
    )
    models = {"joint": joint, "single": load("unimodal:small_image_encoder"), "random": built(None)}
    found: dict[str, Any] = {}
    for kind, model in models.items():
        train_vectors, test_vectors = vectors(model, x[:PROBED]), vectors(model, test)
        found[kind] = {"probe": round(share(probed(train_vectors, y[:PROBED], test_vectors), wanted), 4)}
    flat = [part.flatten(1).float() / 127.5 - 1 for part in (x[:PROBED], test)]
    found["raw"] = {"probe": round(share(probed(flat[0], y[:PROBED], flat[1]), wanted), 4)}
    found["joint"]["by the names of the classes"] = json.loads((options.run / "result.json").read_text())["top1"]
    about = {"data": "CIFAR-10 (50,000 training pictures)", "licence": "no formal licence; attribution is asked"}
    return {**about, "question": "which of ten classes", "samples": len(x), "held out": len(test), **found}


@torch.no_grad()
def vectors(model: Any, images: Tensor) -> Tensor:
    """Embeddings of pictures."""
    return torch.cat([model.eval().embed(Batch("image", chunk)) for chunk in images.split(250)])


def share(found: Tensor, wanted: Tensor) -> float:
    """Of right ones."""
    return float((found == wanted).float().mean())


def assemble(run: Path, model: Any, results: dict[str, dict[str, Any]]) -> None:
    """The checkpoint in half precision, with its card and curve."""
    result = json.loads((run / "result.json").read_text())
    card = {
        "name": "small_multimodal_encoder",
        "data": "thirteen modalities, see README.md",
        "licence": "several of the data are for research only or of unknown licence, and so are these weights",
        "command": "python recipes/joint_core.py --data DIR --run DIR",
        "seed": SEED,
        "steps": result["steps"],
        "spent_s": result["spent_s"],
        "trained_parameters": sum(p.numel() for p in model.parameters()),
        "made": f"{datetime.date.today().isoformat()}, torch {torch.__version__}",
    }
    folder = run / "small_multimodal_encoder"
    provenance = Provenance({"": "trained"}, "recipes/joint_core.py")
    save(model, folder, part=small_multimodal_encoder(), provenance=provenance, card=card, dtype=torch.float16)
    figures = {**card, "steps_of_set": result["steps_of_set"], "results": results}
    (folder / "measured.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "curve.jsonl").write_text((run / "curve.jsonl").read_text())
    (folder / "README.md").write_text(page(model, figures))
    print(f"written to {folder}")


def page(model: Any, figures: dict[str, Any]) -> str:
    """The model card."""
    results, steps = figures["results"], figures["steps_of_set"]
    data, probes, retrieved = [], [], []
    for name, r in results.items():
        own = steps[PICTURES if name == "image" else name]
        data.append(f"| {name} | {r['data']} | {r['samples']:,} | {own:,} | {r['licence']} |")
        shares = " | ".join(
            f"{100 * r[kind]['probe']:.1f}" if kind in r else "-" for kind in ("joint", "single", "random", "raw")
        )
        probes.append(f"| {name} | {r['question']} | {r['held out']:,} | {shares} |")
        if "retrieval" in r["joint"]:
            found = " | ".join(
                f"{100 * r[kind]['retrieval']:.1f}" if kind in r else "-" for kind in ("joint", "single", "random")
            )
            retrieved.append(f"| {name} | {r['held out']:,} | {100 / r['held out']:.1f} | {found} |")
    core = sum(p.numel() for p in model.transformer.parameters())
    takes = results["audio"]["joint"]["unheard takes of known speakers"]
    return CARD.format(
        command=figures["command"], seed=figures["seed"], steps=figures["steps"], core=core,
        minutes=figures["spent_s"] / 60, trained=figures["trained_parameters"], data="\n".join(data),
        probes="\n".join(probes), retrieved="\n".join(retrieved), series=steps["ett"], pictures=Pictures.batch,
        names=100 * results["image"]["joint"]["by the names of the classes"], takes=100 * takes, speaker=UNHEARD,
        share=100 * WEIGHTS[PICTURES] / sum(WEIGHTS.values()),
    )  # fmt: skip


CARD = """# small_multimodal_encoder

One small core and a tokenizer for each of thirteen modalities, trained together; it began with the weights of
`small_image_encoder` and with new tokenizers for all but pictures. The encoder of `unimodal embed`, and the default of
the tasks on pictures.

| | |
| --- | --- |
| Data | below |
| Licence | several of the data are for research only or of unknown licence, and so are these weights |
| Command | `{command}` |
| Seed | {seed} |
| Steps | {steps:,}, {share:.0f} % of them on {pictures} pictures |
| Time | {minutes:.0f} minutes on one core of a shared AMD EPYC (AVX-512), pictures in bfloat16 |
| Trained parameters | {trained:,} (of these the core: {core:,}) |

| modality | data | inputs | steps | licence of the data |
| --- | --- | --- | --- | --- |
{data}

and {series} steps of forecasting ETTh1 (CC BY-ND 4.0), four days from four days, first twelve months.

## Measured

A logistic regression on the embeddings of held-out inputs, percent right: the joint encoder; the same model trained on
that set alone, from the same start and for as many steps (of pictures: `small_image_encoder`, the start itself, so
their gain is also that of further steps); one that was not trained; and the input's own values squeezed to 512 numbers
(of pictures all). Speech was also learned from 1,200 digits that a formant synthesiser said.

| modality | question | held out | **joint** | single | random | raw values |
| --- | --- | --- | --- | --- | --- | --- |
{probes}

Audio: the speaker ({speaker}) was never heard in training; on unheard takes of the five others it is {takes:.1f} %.
Pictures named by the nearest class name, without any layer of their own: {names:.1f} %.

Held-out inputs whose second half of tokens is found from the first among all others, in percent:

| modality | inputs | chance | **joint** | single | random |
| --- | --- | --- | --- | --- | --- |
{retrieved}

## Limits

Pictures are shrunk to 32 px. Most sets are small, and an input of another kind than theirs is embedded without
knowledge of it: the voices are six people's, radiographs and infrared frames come from few places, the scans from a
handful of patients. Where "single" or "random" is above "joint", sharing cost something; docs/transfer.md says where.
For anything that matters load a published encoder of the modality (`unimodal embed --model`, docs/published.md).
"""


if __name__ == "__main__":
    main()
