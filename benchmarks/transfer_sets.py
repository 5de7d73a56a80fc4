"""Problems of the transfer bench: real data of fourteen modalities as sources, with a question that has one answer.

The folder of the data sets is that of recipes/multimodal_data.py, which says what each of them holds.
"""

import csv
import importlib
import io
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PROBLEMS", "Problem", "recipes"]

ROOT = Path(__file__).resolve().parents[1]
MOST_TRAIN, MOST_TEST = 1000, 300


@dataclass(frozen=True)
class Problem:
    """Inputs of one modality and an answer to each.

    Args:
        modality: Name of the tokenizer.
        question: What the answers say.
        train: Sources to learn from; ``test`` held out.
        train_labels: Classes from 0 on; ``test_labels`` the same.
        chance: Share of the commonest class among the test answers.
    """

    modality: str
    question: str
    train: tuple[Any, ...]
    train_labels: tuple[int, ...]
    test: tuple[Any, ...]
    test_labels: tuple[int, ...]

    @property
    def chance(self) -> float:
        """See above."""
        return float(np.bincount(self.test_labels).max() / len(self.test_labels))


def recipes(name: str) -> Any:
    """A file of recipes/ as a module."""
    if (folder := str(ROOT / "recipes")) not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def of_modality(name: str) -> Callable[[Path], Problem]:
    """The labelled data of recipes/multimodal_data.py: those classes that the test has."""

    def problem(folder: Path) -> Problem:
        data = recipes("multimodal_data").DATA[name](folder)
        asked = sorted(set(data.test_labels))
        kept = [i for i, label in enumerate(data.train_labels) if label in asked]
        train = [data.train[i] for i in kept], [asked.index(data.train_labels[i]) for i in kept]
        return _problem(name, data.question, *train, data.test, [asked.index(label) for label in data.test_labels])

    return problem


def handwritten(folder: Path) -> Problem:
    """Pictures that are no photographs: MNIST."""
    held = [np.load(folder / "mnist" / f"mnist_{split}.npz") for split in ("train", "test")]
    pictures = [[np.repeat(image[..., None], 3, -1) for image in part["image"][:2000]] for part in held]
    (train, test), labels = pictures, [part["label"][:2000].tolist() for part in held]
    return _problem("image", "which digit is written", train, labels[0], test, labels[1])


def surroundings(folder: Path) -> Problem:
    """ESC-10; the fifth fold is held out."""
    import soundfile

    archive = zipfile.ZipFile(folder / "esc10" / "esc10_16k_vorbis.zip")
    rows = list(csv.DictReader((folder / "esc10" / "index.csv").read_text().splitlines()))
    names = sorted({row["label_name"] for row in rows})
    found: dict[bool, tuple[list[Any], list[int]]] = {True: ([], []), False: ([], [])}
    for row in rows:
        heard, rate = soundfile.read(io.BytesIO(archive.read(row["file"])), dtype="int16")
        sources, labels = found[row["fold"] == "5"]
        sources.append((heard[: 2 * rate], rate))
        labels.append(names.index(row["label_name"]))
    return _problem("audio", "which of ten sounds of the surroundings", *found[False], *found[True])


def objects(folder: Path) -> Problem:
    """Sixteen YCB objects as 256 points of their surface, turned about any axis."""
    import trimesh

    archive = zipfile.ZipFile(folder / "ycb_meshes" / "ycb_meshes.zip")
    names = sorted(name for name in archive.namelist() if name.startswith("collision/") and name.endswith(".obj"))
    draw = np.random.default_rng(0)
    sources: list[Any] = []
    for name in names:
        mesh: Any = trimesh.load(io.BytesIO(archive.read(name)), file_type="obj", force="mesh", process=False)
        for _ in range(56):
            points = np.asarray(trimesh.sample.sample_surface(mesh, 256, seed=int(draw.integers(2**31)))[0])
            turn = np.linalg.qr(draw.normal(size=(3, 3)))[0]
            sources.append(((points - points.mean(0)) @ (turn * np.sign(np.linalg.det(turn)))).astype(np.float32))
    labels = np.repeat(np.arange(len(names)), 56).tolist()
    held_out = [i for i in range(len(sources)) if i % 56 >= 40]
    learned = [i for i in range(len(sources)) if i % 56 < 40]
    train, test = ([sources[i] for i in part] for part in (learned, held_out))
    answers = ([labels[i] for i in part] for part in (learned, held_out))
    return _problem("point_cloud", "which of sixteen objects, turned", train, next(answers), test, next(answers))


def opinions(folder: Path) -> Problem:
    """Indonesian sentences of SmSA, their first 160 characters: is the writer pleased?"""
    archive = zipfile.ZipFile(folder / "indonlu" / "indonlu.zip")
    kinds, parts = ("negative", "neutral", "positive"), []
    for split in ("train", "test"):
        file = next(n for n in archive.namelist() if n.startswith("smsa") and f"{split}_preprocess" in n)
        lines = [line.rsplit("\t", 1) for line in archive.read(file).decode().splitlines()]
        lines = [(text[:160], kinds.index(label)) for text, label in lines if label in kinds][:3000]
        parts += [[text for text, _ in lines], [label for _, label in lines]]
    return _problem("text", "is an Indonesian sentence pleased, displeased or neither", *parts)


PROBLEMS: dict[str, Callable[[Path], Problem]] = {
    "handwritten digits": handwritten,
    "spoken digits": of_modality("audio"),
    "sounds": surroundings,
    "leaf outlines": of_modality("time_series"),
    "activities": of_modality("imu"),
    "voxel shapes": of_modality("point_cloud"),
    "turned objects": objects,
    "radiographs": of_modality("xray"),
    "CT structures": of_modality("ct"),
    "infrared targets": of_modality("infrared"),
    "languages": of_modality("text"),
    "opinions": opinions,
    "table rows": of_modality("table"),
    "proteins": of_modality("graph"),
    "clips": of_modality("video"),
    "ground from the air": of_modality("hyperspectral"),
}


def _problem(
    modality: str, question: str, train: Sequence, train_labels: Sequence, test: Sequence, test_labels: Sequence
) -> Problem:
    """At most so many of each, evenly taken."""
    parts = []
    for sources, labels, most in ((train, train_labels, MOST_TRAIN), (test, test_labels, MOST_TEST)):
        places = np.linspace(0, len(sources) - 1, min(most, len(sources))).round().astype(int)
        parts += [tuple(sources[i] for i in places), tuple(int(labels[i]) for i in places)]
    return Problem(modality, question, *parts)
