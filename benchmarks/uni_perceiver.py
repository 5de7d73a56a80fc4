"""Claim: one small model, trained on several tasks at once, names pictures by combinations of words it never met.

    python -m benchmarks.uni_perceiver [--data DIR] [--steps 1100] [--seeds 3] [--save]

DIR holds mnist (mnist_train.npz, mnist_test.npz) and multi30k_text (train.parquet); by default the folder of shared
data. A picture is two handwritten digits side by side, or one and an empty half. One model of a recipe's blocks is
trained by one likelihood on five tasks, one a step:

    digit      a digit's name among ten ("seven");
    pair       the name of two digits ("three seven") among the 80 pairs that are seen in training;
    retrieval  pictures of pairs and sentences about them, both ways;
    caption    the sentence's words, all asked for in one pass;
    words      blanks in captions of photos (Multi30k, English), of the 200 most frequent words.

Twenty pairs appear in no picture, name or sentence; every digit appears in both halves. Then pictures of these pairs,
of digits that were not trained on, are named: among the 20 new names (chance 5 %), among all 100 names (1 %), and among
the 20 new sentences, which were never a set of classes (5 %); beside them seen pairs among all 100 names. Exit code 1
when for any seed the 95 % interval of a share of new pairs includes chance or lies below it.
"""

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.descent import descend
from benchmarks.paired import save_rows
from benchmarks.shared_data import SHARED, digits
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.objectives.captioning import Captioning
from unimodal.objectives.likelihood import Likelihood
from unimodal.objectives.masked_words import MaskedWords
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.positions.place_and_frame import PlaceAndFrame
from unimodal.readouts.class_token import ClassToken
from unimodal.recipes.pre_norm import pre_norm
from unimodal.sample import Batch, Sample
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.tokenizers.text import Text
from unimodal.vocabulary import Vocabulary

__all__ = ["main"]

WIDTH, HEADS, DEPTH, PATCH, BATCH, RATE = 96, 4, 4, 7, 48, 2e-3
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SENTENCE = "a {} on the left and a {} on the right"
SPECIAL = ("", "<end>", "<blank>")
END, BLANK = 1, 2
FREQUENT = 200
# task: share of the steps
TASKS = {"digit": 0.2, "pair": 0.4, "retrieval": 0.15, "caption": 0.15, "words": 0.1}
NEW = tuple((left, (left + shift) % 10) for left in range(10) for shift in (3, 6))
SEEN = tuple(pair for pair in ((a, b) for a in range(10) for b in range(10)) if pair not in NEW)


class Words:
    """Whole words as ids; what is not known is left out."""

    def __init__(self, captions: list[str]) -> None:
        own = dict.fromkeys([*DIGITS, *SENTENCE.replace("{}", "").split()])
        counted = Counter(word for caption in captions for word in caption.split())
        frequent = [word for word, _ in counted.most_common(FREQUENT) if word not in own]
        self.known = {word: i for i, word in enumerate([*SPECIAL, *own, *frequent])}

    def sample(self, text: str) -> Sample:
        ids = [*(self.known[word] for word in text.split() if word in self.known), END]
        return Sample("text", torch.tensor(ids), text, None, len(ids))


def reader(words: int) -> Model:
    """One core for pictures and texts."""
    core = pre_norm(depth=DEPTH, heads=HEADS, hidden=3 * WIDTH, eps=1e-5, final_norm=False)
    grey = Part(PatchStem, patch=PATCH, channels=1)
    return Model(
        WIDTH,
        tokenizers={
            "image": Part(Image, stem=grey, size=None, fit="native", mean=(0.5,), std=(0.5,)),
            "text": Part(Text, vocabulary=words, context=32, causal=False),
        },
        positions={
            "image": Part(PlaceAndFrame, grid=(28 // PATCH, 56 // PATCH), frames=1),
            "text": Part(Learned, grid=(32,), resample=False),
        },
        prefix=1,
        norm=Part(LayerNorm, eps=1e-5),
        transformer=core,
        readout=Part(ClassToken),
        kinds=True,
    )


class Data:
    """Pictures of digits side by side, and real captions."""

    def __init__(self, folder: Path, seed: int) -> None:
        import pyarrow.parquet as parquet

        self.draw = random.Random(seed)
        captions = parquet.read_table(folder / "multi30k_text" / "train.parquet", columns=["en"])["en"].to_pylist()
        self.captions = [text.lower().replace(".", " ").replace(",", " ") for text in captions]
        self.digits = {part: self._digits(folder / "mnist", part) for part in ("train", "test")}

    @staticmethod
    def _digits(folder: Path, split: str) -> list[Tensor]:
        x, y = digits(folder, split)
        return [x[y == digit] for digit in range(10)]

    def one(self, digit: int | None, part: str) -> Tensor:
        held = self.digits[part]
        return -torch.ones(1, 28, 28) if digit is None else held[digit][self.draw.randrange(len(held[digit]))]

    def pictures(self, pairs: Sequence[tuple[int | None, int | None]], part: str = "train") -> Tensor:
        """(S, 1, 28, 56)"""
        return torch.stack([torch.cat([self.one(digit, part) for digit in pair], -1) for pair in pairs])


class Lesson:
    """The five tasks over one model and one likelihood."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.data = Data(folder, seed)
        self.words = Words(self.data.captions)
        torch.manual_seed(seed)
        self.model = reader(len(self.words.known))
        self.likelihood = Likelihood(WIDTH, tasks=tuple(TASKS))
        known = range(len(SPECIAL), len(self.words.known))
        self.vocabulary = Vocabulary(self.model.tokenizer("text"), [END, *known], blank=BLANK, end=END)

    def texts(self, texts: list[str]) -> Batch:
        tokenizer: Any = self.model.tokenizer("text")
        return tokenizer.collate([self.words.sample(text) for text in texts])

    def names(self, pairs: tuple[tuple[int, int], ...]) -> Batch:
        return self.texts([f"{DIGITS[a]} {DIGITS[b]}" for a, b in pairs])

    def sentences(self, pairs: tuple[tuple[int, int], ...]) -> list[str]:
        return [SENTENCE.format(DIGITS[a], DIGITS[b]) for a, b in pairs]

    def loss(self, task: str) -> Tensor:
        draw, model, likelihood = self.data.draw, self.model, self.likelihood
        if task == "words":
            captions = self.texts(draw.sample(self.data.captions, BATCH))
            return MaskedWords()(model, likelihood, task, captions, self.vocabulary)
        if task == "digit":
            labels = [draw.randrange(10) for _ in range(BATCH)]
            halves = [(label, None) if draw.random() < 0.5 else (None, label) for label in labels]
            shown, targets = Batch("image", self.data.pictures(halves)), self.texts(list(DIGITS))
            return likelihood(model, task, shown, targets, torch.tensor(labels))
        numbers = draw.sample(range(len(SEEN)), BATCH)
        pairs = tuple(SEEN[i] for i in numbers)
        pixels = self.data.pictures(pairs)
        if task == "pair":
            return likelihood(model, task, Batch("image", pixels), self.names(SEEN), torch.tensor(numbers))
        if task == "retrieval":
            return likelihood.retrieval(model, task, Batch("image", pixels), self.texts(self.sentences(pairs)))
        shown = [Sample("image", picture, "", None, 32) for picture in pixels[: BATCH // 2]]
        said = [self.words.sample(text) for text in self.sentences(pairs[: BATCH // 2])]
        return Captioning()(model, likelihood, task, shown, said, self.vocabulary)

    def train(self, steps: int) -> dict[str, float]:
        """AdamW with a warm-up and a cosine; the mean loss of each task in the last fifth."""
        parameters = [*self.model.parameters(), *self.likelihood.parameters()]
        self.model.train()
        late: dict[str, list[float]] = {task: [] for task in TASKS}
        tasks: list[str] = []

        def loss(step: int) -> Tensor:
            tasks.extend(self.data.draw.choices(list(TASKS), list(TASKS.values())))
            return self.loss(tasks[step])

        for step, value in enumerate(descend(parameters, loss, steps=steps, rate=RATE)):
            if step >= 0.8 * steps:
                late[tasks[step]].append(value)
        self.model.eval()
        return {task: round(statistics.mean(losses), 3) for task, losses in late.items() if losses}

    @torch.inference_mode()
    def named(self, pairs: tuple[tuple[int, int], ...], targets: Batch, labels: list[int], each: int) -> dict[str, Any]:
        """How many of ``each`` pictures a pair, of unseen digits, get their own target, with a 95 % interval."""
        y_KD, right = self.likelihood.encode(self.model, targets), []
        for pair, label in zip(pairs, labels, strict=True):
            shown = Batch("image", self.data.pictures([pair] * each, "test"))
            found = self.likelihood.compared("pair", self.likelihood.encode(self.model, shown), y_KD).argmax(1)
            right += (found == label).tolist()
        low, high = interval(sum(right), len(right))
        return {"share": round(sum(right) / len(right), 4), "interval": [low, high], "pictures": len(right)}


def interval(right: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, z = right / of, 1.959964
    middle, spread = share + z * z / (2 * of), z * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    return round((middle - spread) / (1 + z * z / of), 4), round((middle + spread) / (1 + z * z / of), 4)


def run(folder: Path, steps: int, seed: int, each: int) -> dict[str, Any]:
    """Train one model; what it names before and behind training."""
    lesson, begun = Lesson(folder, seed), time.process_time()
    order = list(range(len(NEW)))
    whole = (*NEW, *SEEN)
    untrained = lesson.named(NEW, lesson.names(NEW), order, 10)["share"]
    losses = lesson.train(steps)
    row = {
        "new_among_20_names": lesson.named(NEW, lesson.names(NEW), order, each) | {"chance": 0.05},
        "new_among_100_names": lesson.named(NEW, lesson.names(whole), order, each) | {"chance": 0.01},
        "new_among_20_sentences": lesson.named(NEW, lesson.texts(lesson.sentences(NEW)), order, each)
        | {"chance": 0.05},
        "seen_among_100_names": lesson.named(SEEN, lesson.names(whole), list(range(20, 100)), max(each // 5, 1))
        | {"chance": 0.01},
    }
    parameters = sum(p.numel() for part in (lesson.model, lesson.likelihood) for p in part.parameters())
    spent = {"cpu_s": round(time.process_time() - begun, 1), "parameters": parameters}
    return {"seed": seed, "steps": steps, "late_loss": losses, "untrained_among_20": untrained, **spent, **row}


def main(arguments: list[str] | None = None) -> int:
    """Train, print the shares, and say whether new names are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--each", type=int, default=50, help="pictures a new pair")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    if not (options.data / "mnist" / "mnist_train.npz").is_file():
        parser.error(f"{options.data} has no mnist/mnist_train.npz; say with --data where it is")
    torch.set_num_threads(1)
    rows = []
    for seed in range(options.seeds):
        rows.append(run(options.data, options.steps, seed, options.each))
        print(rows[-1], flush=True)
    judged = ("new_among_20_names", "new_among_100_names", "new_among_20_sentences")
    for name in judged:
        shares = [row[name]["share"] for row in rows]
        print(f"{name}: mean {statistics.mean(shares):.3f} of {shares}, chance {rows[0][name]['chance']}")
    met = all(row[name]["interval"][0] > row[name]["chance"] for row in rows for name in judged)
    print("passed" if met else "failed")
    if options.save:
        print(save_rows("uni_perceiver", ({"benchmark": "uni_perceiver", "passed": met} | row for row in rows)).name)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
