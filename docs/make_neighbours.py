"""Pages of nearest neighbours: held-out inputs of every modality beside what the embedded encoder finds most like them.

    python docs/make_neighbours.py --data DIR --out DIR [--only audio ct ...] [--controls 3]

DIR (data) is the folder of recipes/multimodal_data.py, and holds cifar10/cifar10_test.parquet too. The pages go to
OUT/<modality>.html and hold the data sets' own inputs, which their licences keep out of the repository; only the table
of figures is written to docs/neighbours.md, when all modalities were asked for. About two minutes on one core.

precision@5: the share of an input's five nearest neighbours that have its class. Chance is the same share of all that
were looked at; the control is the same encoder with random weights, the mean of some. Exact copies are left out.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from drawings import drawer

from unimodal.embedding import Embedder
from unimodal.neighbours import neighbours
from unimodal.pretrained import load
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.weights_file import weights_digest

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "neighbours.md"
sys.path.insert(0, str(ROOT / "recipes"))
from multimodal_data import DATA, Data  # noqa: E402

MODEL, COUNT, SHOWN, PICTURES, BATCH = "unimodal:small_multimodal_encoder", 5, 10, 500, 32
APART = ("video", "hyperspectral")  # held-out inputs overlap one another, and none of those of training


def image(folder: Path) -> Data:
    """Test pictures of CIFAR-10."""
    rows = pq.read_table(folder / "cifar10" / "cifar10_test.parquet").slice(0, PICTURES).to_pylist()
    return Data(
        train=[],
        test=[row["image"] for row in rows],
        train_labels=[],
        test_labels=[int(row["label"]) for row in rows],
        classes=tuple((folder / "cifar10" / "classes.txt").read_text().split()),
        what=f"{PICTURES} test pictures of CIFAR-10",
        question="which of the ten classes that the core was trained to tell apart",
        licence="unknown",
    )


@dataclass(frozen=True)
class Looked:
    """Inputs of one modality and where neighbours are looked for.

    Args:
        sources: The inputs.
        labels: A class for each.
        asked: How many of them, from the first on, are held-out inputs whose neighbours are asked for.
        apart: Whether the neighbours come from behind those, or from among them.
    """

    sources: list[Any]
    labels: list[int]
    asked: int
    apart: bool

    def candidates(self, i: int) -> list[int]:
        """Where the neighbours of input i may lie."""
        return list(range(self.asked, len(self.labels))) if self.apart else [j for j in range(self.asked) if j != i]


def main(arguments: list[str] | None = None) -> int:
    """Embed, write the pages, and the table of figures."""
    sources: dict[str, Callable[[Path], Data]] = {"image": image, **DATA}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(sources), default=list(sources))
    parser.add_argument("--controls", type=int, default=3)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    trained: Any = load(MODEL)
    controls = [untrained(seed) for seed in range(options.controls)]
    results: dict[str, dict[str, Any]] = {}
    for name in options.only:
        begun, data = time.process_time(), sources[name](options.data)
        looked = looked_at(name, data)
        found = nearest(trained, name, looked)
        results[name] = {
            "question": data.question,
            "inputs": looked.asked,
            "classes": len(set(looked.labels[: looked.asked])),
            "chance": chance(looked),
            "random": float(np.mean([precision(nearest(model, name, looked), looked.labels) for model in controls])),
            "trained": precision(found, looked.labels),
        }
        (options.out / f"{name}.html").write_text(sheet(name, data, looked, found, results[name]), encoding="utf-8")
        shares = ", ".join(f"{key} {100 * results[name][key]:.1f}" for key in ("chance", "random", "trained"))
        sys.stdout.write(f"{name}: {shares} % in {time.process_time() - begun:.1f} s\n")
    index = "".join(f"<li><a href='{name}.html'>{name}</a></li>" for name in results)
    (options.out / "index.html").write_text(f"<!doctype html><meta charset='utf-8'><ul>{index}</ul>", encoding="utf-8")
    (options.out / "summary.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if set(options.only) == set(sources):
        PAGE.write_text(page(results, weights_digest(trained.state_dict()), options.controls), encoding="utf-8")
        sys.stdout.write(f"written to {PAGE}\n")
    return 0


def untrained(seed: int) -> Any:
    """The encoder as its constructor leaves it."""
    torch.manual_seed(seed)
    model: Any = small_multimodal_encoder()()
    return model.eval()


def looked_at(name: str, data: Data) -> Looked:
    """Each distinct held-out input, and where those overlap one another also the labelled ones of training."""
    first = {_content(source): i for i, source in reversed(list(enumerate(data.test)))}
    kept = sorted(first.values())
    sources, labels = [data.test[i] for i in kept], [data.test_labels[i] for i in kept]
    if name in APART:
        more = {_content(s): (s, y) for s, y in zip(data.train, data.train_labels, strict=True) if y >= 0}
        sources, labels = sources + [s for s, _ in more.values()], labels + [y for _, y in more.values()]
    return Looked(sources, labels, len(kept), name in APART)


def _content(source: Any) -> Any:
    """What two sources are equal by."""
    if isinstance(source, np.ndarray):
        return source.shape, source.tobytes()
    if isinstance(source, tuple):
        return tuple(_content(part) for part in source)
    return json.dumps(source, default=lambda held: held.tolist()) if isinstance(source, dict) else source


def nearest(model: Any, name: str, looked: Looked) -> list[list[tuple[int, float]]]:
    """Five neighbours of each input asked about, by the measure of ``unimodal neighbours``."""
    embedder = Embedder(model, name)
    samples = [model.tokenizer(name).read(source) for source in looked.sources]
    made = [one.vector for i in range(0, len(samples), BATCH) for one in embedder.predict(samples[i : i + BATCH])]
    every = neighbours(torch.stack(made), of=range(looked.asked), count=len(made) - 1 if looked.apart else COUNT)
    first = looked.asked if looked.apart else 0
    return [[pair for pair in near if pair[0] >= first][:COUNT] for near in every]


def precision(found: Sequence[Sequence[tuple[int, float]]], labels: Sequence[int]) -> float:
    """The mean share of an input's neighbours that have its class."""
    return float(np.mean([np.mean([labels[j] == labels[i] for j, _ in near]) for i, near in enumerate(found)]))


def chance(looked: Looked) -> float:
    """What neighbours drawn from all candidates would have."""
    labels = np.array(looked.labels)
    return float(np.mean([(labels[looked.candidates(i)] == labels[i]).mean() for i in range(looked.asked)]))


def queries(labels: Sequence[int]) -> list[int]:
    """Inputs to show, chosen without a look at their neighbours: the classes take turns, inputs at random."""
    draw = np.random.default_rng(0)
    left = {label: [i for i in draw.permutation(len(labels)).tolist() if labels[i] == label] for label in set(labels)}
    order, chosen = draw.permutation(sorted(left)).tolist(), []
    while len(chosen) < min(SHOWN, len(labels)):
        chosen += [left[label].pop() for label in order if left[label]]
    return sorted(chosen[:SHOWN], key=lambda i: labels[i])


def sheet(
    name: str, data: Data, looked: Looked, found: Sequence[Sequence[tuple[int, float]]], figures: dict[str, Any]
) -> str:
    """The page of one modality."""
    draw = drawer(name, looked.sources)

    def framed(kind: str, i: int, before: str = "", behind: str = "") -> str:
        told = f"{before}{escape(data.classes[looked.labels[i]])}{behind}"
        return f"<figure class='{kind}'>{draw(looked.sources[i])}<figcaption>{told}</figcaption></figure>"

    rows = []
    for i in queries(looked.labels[: looked.asked]):
        cells = [framed("query", i)]
        for j, alike in found[i]:
            same = looked.labels[i] == looked.labels[j]
            kind, mark = ("same", "✓") if same else ("other", "✗")
            cells.append(framed(kind, j, f"<b>{mark}</b> ", f" <span>{alike:.2f}</span>"))
        rows.append(f"<section>{''.join(cells)}</section>")
    where = "the inputs of training" if looked.apart else "the other held-out inputs"
    caption = (
        f"{escape(data.what)}. Left: one of {figures['inputs']} held-out inputs; right: its five nearest among "
        f"{where}, with their cosine, framed by whether they have its class ({escape(data.question)}). "
        f"<b>precision@5 {100 * figures['trained']:.1f} %</b>, random encoder {100 * figures['random']:.1f} %, chance "
        f"{100 * figures['chance']:.1f} %."
    )
    title = name.replace("_", " ")
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"
    return f"{head}<h1>{title}</h1><p class='caption'>{caption}</p>{''.join(rows)}</html>\n"


def page(results: dict[str, dict[str, Any]], digest: str, controls: int) -> str:
    """docs/neighbours.md."""
    lines = [HEAD.format(model=MODEL, digest=digest, controls=controls)]
    for name, r in results.items():
        shares = " | ".join(f"{100 * r[key]:.1f}" for key in ("chance", "random", "trained"))
        lines.append(f"| {name} | {r['question']} | {r['classes']} | {r['inputs']} | {shares} |")
    behind = [name for name, r in results.items() if r["trained"] <= r["random"]]
    told = ", ".join(behind) if behind else "none"
    return "\n".join(lines) + f"\n\nModalities in which the trained encoder is not above the random one: {told}.\n"


HEAD = """\
# Nearest neighbours

Generated by `python docs/make_neighbours.py --data DIR --out DIR`, which also writes a page of neighbours for each
modality, to be looked at. Those pages hold inputs of data sets whose licences keep them out of this repository.
`unimodal neighbours` does the same for your own files, after `unimodal embed`.

A neighbour is one of the largest cosines after the mean embedding is taken off. precision@5, in percent: how many of an
input's five nearest have its class. Chance: how many of all others have it. Random: the same encoder with random
weights ({controls} drawn, their mean). Neighbours of held-out inputs are looked for among the other held-out ones;
clips and blocks of a cube overlap one another, so theirs are looked for among the inputs of training, which they do not
overlap. Blocks of a CT volume overlap too, and what is in the middle changes from one to the next: there a neighbour is
often the same place. Exact copies are left out.

Encoder: `{model}`, weights
`{digest}`.

| modality | class | classes | inputs | chance | random | trained |
| --- | --- | --- | --- | --- | --- | --- |"""

STYLE = """
body { font: 13px/1.35 system-ui, sans-serif; margin: 16px; color: #222; background: #fff; }
h1 { font-size: 20px; margin: 0 0 4px; } .caption { max-width: 1040px; margin: 0 0 12px; }
section { display: flex; gap: 8px; margin-bottom: 8px; align-items: stretch; }
figure { margin: 0; padding: 5px; width: 152px; border: 3px solid #999; display: flex; flex-direction: column;
  align-items: center; overflow: hidden; }
figure.query { border-color: #333; margin-right: 14px; background: #f3f3f3; }
figure.same { border-color: #2a9d4a; } figure.other { border-color: #d33c34; }
figcaption { margin-top: auto; padding-top: 4px; font-size: 12px; text-align: center; }
figcaption span { color: #777; } small { color: #777; }
.words { font-size: 12px; margin: 0; overflow-wrap: anywhere; }
.pair { display: flex; gap: 4px; margin-top: 3px; }
table.row { border-collapse: collapse; font-size: 10.5px; } .row th { text-align: left; font-weight: 400; color: #777; }
.row th, .row td { padding: 0 5px 0 0; } .row td { text-align: right; }
"""


if __name__ == "__main__":
    sys.exit(main())
