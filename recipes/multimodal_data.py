"""Real data of twelve modalities for the shared encoder's tokenizers: sources as they are read, with labels.

Each function takes the folder of the data sets and returns a :class:`Data`.
"""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

__all__ = ["DATA", "UNHEARD", "Data", "hours", "spoken_digits"]

UNHEARD = "yweweler"  # the last of six speakers by name: no recording of his is ever trained on


@dataclass(frozen=True)
class Data:
    """Inputs of one modality.

    Args:
        train: Sources to train on.
        test: Sources held out.
        train_labels: A class for each, -1 where there is none.
        test_labels: The same.
        classes: A name in plain words for each class.
        what: The data in words; ``question`` what the labels say; ``licence`` of the data.
    """

    train: list[Any]
    test: list[Any]
    train_labels: list[int]
    test_labels: list[int]
    classes: tuple[str, ...]
    what: str
    question: str
    licence: str


def infrared(folder: Path) -> Data:
    """Frames of SIRST; is the target larger than the median one?"""
    images, masks = (zipfile.ZipFile(folder / "sirst_infrared" / f"sirst_{kind}.zip") for kind in ("images", "masks"))
    rows = list(csv.DictReader((folder / "sirst_infrared" / "index.csv").read_text().splitlines()))
    split = {row["name"]: row["split"] for row in rows}
    found: dict[str, list[tuple[bytes, float]]] = {"train": [], "test": []}
    for name in images.namelist():
        area = float((np.asarray(_picture(masks.read(name[:-4] + ".png"))) > 0).mean())
        found[split[Path(name).stem]].append((images.read(name), area))
    middle = float(np.median([area for _, area in found["train"]]))
    pairs = {k: [(source, int(area > middle)) for source, area in v] for k, v in found.items()}
    return _data(
        pairs,
        ("small target", "large target"),
        "427 frames of open-sirst-v2",
        "target larger than the median",
        "unknown",
    )


def xray(folder: Path) -> Data:
    """Chest radiographs: no finding, pneumonia, covid."""
    rows = pq.read_table(folder / "chest_xray_3class" / "chest_xray.parquet").to_pylist()
    pairs = {k: [(r["image"], int(r["label"])) for r in rows if r["split"] == k] for k in ("train", "test")}
    classes = ("no finding", "pneumonia", "covid-19")
    return _data(
        pairs, classes, "1,124 chest radiographs", "no finding, pneumonia or Covid-19", "mixed, in part non-commercial"
    )


def video(folder: Path) -> Data:
    """Two seconds from anywhere in 23 clips; which clip? Test: the last third of each clip."""
    import av

    pairs: dict[str, list[tuple[Any, int]]] = {"train": [], "test": []}
    paths = sorted((folder / "short_videos").rglob("*.mp4"))
    for label, path in enumerate(paths):
        with av.open(str(path)) as container:
            frames = [
                frame.to_ndarray(width=80, height=60, format="rgb24")
                for i, frame in enumerate(container.decode(video=0))
                if i % 2 == 0
            ]
        film, third = np.stack(frames), len(frames) * 2 // 3
        for k, part in (("train", film[:third]), ("test", film[third:])):
            starts = np.unique(np.linspace(0, max(0, len(part) - 16), 12 if k == "train" else 5).astype(int))
            pairs[k] += [(part[s : s + 16], label) for s in starts]
    classes = [path.stem.replace("_", " ").replace("-", " ") for path in paths]
    return _data(pairs, classes, "23 short clips (3 scenes, 20 signs)", "which clip, at a later time", "CC BY 4.0")


def point_cloud(folder: Path) -> Data:
    """Occupied voxels of chairs and monitors."""
    held = np.load(folder / "modelnet_chair_monitor_voxels" / "voxels32.npz")
    grids, labels = np.unpackbits(held["voxels"], axis=-1), held["label"]
    order = np.random.default_rng(0).permutation(len(grids))
    jitter = np.random.default_rng(1)
    clouds = [np.argwhere(grids[i]) + jitter.uniform(-0.5, 0.5, (int(grids[i].sum()), 3)) for i in order]
    found = [(cloud.astype(np.float32), int(labels[i])) for cloud, i in zip(clouds, order, strict=True)]
    pairs = {"train": found[:1054], "test": found[1054:]}
    return _data(
        pairs, ("chair", "monitor"), "1,354 voxel shapes of ModelNet", "chair or monitor", "unknown (research use)"
    )


def audio(folder: Path) -> Data:
    """Spoken digits of five people, and environmental sounds of two seconds; test: a sixth person's digits."""
    import soundfile

    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    pairs: dict[str, list[tuple[Any, int]]] = {"train": [], "test": []}
    for name, sound, digit in spoken_digits(folder):
        if name != "takes":
            pairs[name].append((sound, digit))
    archive = zipfile.ZipFile(folder / "esc10" / "esc10_16k_vorbis.zip")
    rows = list(csv.DictReader((folder / "esc10" / "index.csv").read_text().splitlines()))
    heard_classes = sorted({row["label_name"] for row in rows})
    for row in rows:
        if row["fold"] != "5":
            heard, rate = soundfile.read(io.BytesIO(archive.read(row["file"])), dtype="int16")
            pairs["train"].append(((heard[: 2 * rate], rate), 10 + heard_classes.index(row["label_name"])))
    classes = [*digits, *(name.replace("_", " ") for name in heard_classes)]
    what = "2,250 spoken digits of five people, 320 environmental sounds"
    return _data(pairs, classes, what, "which digit, said by a sixth person", "CC BY-SA 4.0; CC BY 3.0")


def spoken_digits(folder: Path) -> Iterator[tuple[str, Any, int]]:
    """(part, sound, digit) of each recording: ``test`` all of :data:`UNHEARD`, ``takes`` the others' takes 0 to 4."""
    import soundfile

    samples, rate = soundfile.read(folder / "fsdd_digits" / "fsdd_all.flac", dtype="int16")
    for row in csv.DictReader((folder / "fsdd_digits" / "index.csv").read_text().splitlines()):
        begin, length = int(row["start"]), int(row["length"])
        part = "test" if row["speaker"] == UNHEARD else "train" if row["split"] == "train" else "takes"
        yield part, (samples[begin : begin + length], rate), int(row["digit"])


def time_series(folder: Path) -> Data:
    """Leaf outlines, power demand, arrow heads and gestures; test: the species of a leaf."""
    pairs: dict[str, list[tuple[Any, int]]] = {"train": [], "test": []}
    classes = [f"leaf {k}" for k in range(6)]
    for name, kinds in (
        ("OSULeaf", 6), ("ItalyPowerDemand", 2), ("ArrowHead", 3), ("GunPoint", 2), ("PickupGestureWiimoteZ", 10)
    ):  # fmt: skip
        first = 0 if name == "OSULeaf" else len(classes)
        classes += [f"{name} {k}" for k in range(kinds) if name != "OSULeaf"]
        for split in ("train", "test") if name == "OSULeaf" else ("train",):
            pairs[split] += [(values.T, first + label) for values, label in _ts(folder, name, split)]
    return _data(pairs, classes, "583 series of the UCR archive", "species of a leaf by its outline, of six", "unknown")


def hours(folder: Path, split: str) -> np.ndarray:
    """ETTh1, (hours, 7): the usual 12 months of ``train``, or the 4 of ``test`` with the 96 hours before them."""
    text = zipfile.ZipFile(folder / "ett" / "ett_original_csv.zip").read("ETTh1.csv").decode().splitlines()
    values = np.array([[float(v) for v in line.split(",")[1:]] for line in text[1:]], dtype=np.float32)
    return values[: 12 * 720] if split == "train" else values[16 * 720 - 96 : 20 * 720]


def imu(folder: Path) -> Data:
    """Wrist accelerometer and gyroscope: standing, walking, running, badminton."""
    names = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    pairs = {
        split: [
            ({"time_s": np.arange(values.shape[1]) / 10, **dict(zip(names, values, strict=True))}, label)
            for values, label in _ts(folder, "BasicMotions", split)
        ]
        for split in ("train", "test")
    }
    classes = ("badminton", "running", "standing", "walking")
    return _data(pairs, classes, "80 trials of BasicMotions", "which of four activities", "unknown (research use)")


def ct(folder: Path) -> Data:
    """Blocks of CT and MR volumes; which of five structures is in the middle?

    Blocks of one half of a body are trained on, those of the other half are the test. (totalseg_ct_small is no other
    scan: its slices are the last 30 of totalseg_body_ct.)
    """
    import nibabel

    draw, place = np.random.default_rng(2), folder / "ct_mr_volumes"
    names = json.loads((place / "labels.json").read_text())["total_ct"]
    groups = {
        "bone": ("vertebra", "rib_", "hip", "sacrum", "scapula", "clavicula", "humerus", "sternum", "femur"),
        "lung": ("lung",),
        "muscle": ("gluteus", "autochthon", "iliopsoas"),
        "abdomen": ("liver", "spleen", "kidney", "stomach", "bowel", "colon", "duodenum", "pancreas", "bladder"),
        "vessel or heart": ("aorta", "vena", "heart", "artery", "vein", "atri"),
    }
    pairs: dict[str, list[tuple[Any, int]]] = {"train": [], "test": []}
    scan, labels = (
        np.asanyarray(nibabel.load(place / f"totalseg_body_ct{end}.nii.gz").dataobj).transpose(2, 1, 0)
        for end in ("", "_organs")
    )
    middle = scan.shape[2] // 2
    for split, half in (("train", slice(None, middle)), ("test", slice(middle, None))):
        for label, words in enumerate(groups.values()):
            ids = [int(i) for i, name in names.items() if any(word in name for word in words)]
            inside = np.argwhere(np.isin(labels[..., half], ids))
            for z, y, x in inside[draw.permutation(len(inside))[: 80 if split == "train" else 30]]:
                pairs[split].append((_block(scan[..., half], (z, y, x), (16, 48, 48)), label))
    for stem in ("thorax_ct", "pyradiomics_brain1", "totalseg_mr_small"):
        scan = np.asanyarray(nibabel.load(place / f"{stem}.nii.gz").dataobj).transpose(2, 1, 0)
        for at in draw.uniform(0.2, 0.8, (60, 3)) * scan.shape:
            pairs["train"].append((_block(scan, tuple(at.astype(int)), (16, 48, 48)), -1))
    return _data(
        pairs,
        tuple(groups),
        "blocks of 4 CT and MR volumes",
        "structure in the middle, of five, in the other half of a body",
        "Apache-2.0; BSD-3-Clause",
    )


def text(folder: Path) -> Data:
    """Captions in four languages; which language?"""
    pairs: dict[str, list[tuple[Any, int]]] = {}
    for split, file, count in (("train", "train.parquet", 1500), ("test", "test_2016_flickr.parquet", 150)):
        table = pq.read_table(folder / "multi30k_text" / file).to_pydict()
        languages = [k for k in ("en", "de", "fr", "cs") if k in table]
        pairs[split] = [(row, i) for i, k in enumerate(languages) for row in table[k][i * count : (i + 1) * count]]
    classes = ("English", "German", "French", "Czech")
    return _data(
        pairs, classes, "6,000 captions of Multi30k", "English, German, French or Czech", "unknown (research use)"
    )


def table(folder: Path) -> Data:
    """Rows of six tables; four have a column to tell from the others (13 classes), which is taken out of the row."""
    draw = np.random.default_rng(3)
    asked = {"penguins": "species", "titanic": "survived", "diamonds": "cut", "mpg": "origin"}
    pairs: dict[str, list[tuple[Any, int]]] = {"train": [], "test": []}
    classes: list[tuple[str, Any]] = []
    for name in ("penguins", "titanic", "diamonds", "mpg", "taxis", "healthexp"):
        rows = pq.read_table(folder / "tabular_classics" / f"{name}.parquet").to_pylist()
        rows = [rows[i] for i in draw.permutation(len(rows))[:800]]
        labels = [-1] * len(rows)
        if name in asked:
            answers = [row.pop(asked[name]) for row in rows]
            classes += [(name, answer) for answer in sorted(set(answers))]
            labels = [classes.index((name, answer)) for answer in answers]
        for row in rows:
            row.pop("alive", None)  # says the same as the answer
        cut = len(rows) * 2 // 3 if name in asked else len(rows)
        pairs["train"] += list(zip(rows[:cut], labels[:cut], strict=True))
        pairs["test"] += list(zip(rows[cut:], labels[cut:], strict=True))
    what = "3,400 rows of six classic tables"
    names = [f"{name} {asked[name]} {answer}" for name, answer in classes]
    return _data(pairs, names, what, "penguin species, Titanic survival, diamond cut or car origin", "CC0 and unclear")


def graph(folder: Path) -> Data:
    """Molecules and proteins; is a protein an enzyme?"""
    archive, draw = zipfile.ZipFile(folder / "tu_graphs" / "tu_graphs.zip"), np.random.default_rng(4)
    pairs: dict[str, list[tuple[Any, int]]] = {"train": [], "test": []}
    for name, most in (("PROTEINS", 1113), ("MUTAG", 188), ("NCI109", 600)):
        edges, owner, kinds, labels = (
            np.loadtxt(io.BytesIO(archive.read(f"{name}/{name}_{kind}.txt")), delimiter=",", dtype=int)
            for kind in ("A", "graph_indicator", "node_labels", "graph_labels")
        )
        begin = np.searchsorted(owner, np.arange(1, owner.max() + 2))
        of_edge = owner[edges[:, 0] - 1]
        order = draw.permutation(owner.max())[:most]
        for place, g in enumerate(order):
            lo, hi = begin[g], begin[g + 1]
            own = edges[of_edge == g + 1] - 1 - lo
            own = own[own[:, 0] < own[:, 1]]
            if not 3 <= hi - lo <= 60:
                continue
            nodes = [{"id": i, "kind": f"{name} {kinds[lo + i]}"} for i in range(hi - lo)]
            links = [{"source": int(u), "target": int(v)} for u, v in own]
            source = {"directed": False, "nodes": nodes, "links": links}
            label = int(labels[g] > min(labels)) if name == "PROTEINS" else -1
            pairs["test" if name == "PROTEINS" and place % 4 == 0 else "train"].append((source, label))
    return _data(
        pairs,
        ("enzyme", "no enzyme"),
        "1,700 graphs of PROTEINS, MUTAG, NCI109",
        "enzyme or not",
        "unknown (research use)",
    )


def hyperspectral(folder: Path) -> Data:
    """Blocks of two cubes; which quarter of which cube? Test: the blocks of every third column."""
    pairs: dict[str, list[tuple[Any, int]]] = {"train": [], "test": []}
    for number, name in enumerate(("hydice_urban", "sandiego_airport")):
        cube = np.load(folder / "hyperspectral_anomaly" / f"{name}.npz")["cube"]
        rows, columns, _ = cube.shape
        for y in range(0, rows - 11, 4):
            for place, x in enumerate(range(0, columns - 11, 12)):
                quarter = 2 * (y >= rows // 2) + (x >= columns // 2)
                pairs["test" if place % 3 == 1 else "train"].append(
                    (cube[y : y + 12, x : x + 12], 4 * number + quarter)
                )
    classes = [f"{name} quarter {k}" for name in ("urban", "airport") for k in range(4)]
    return _data(pairs, classes, "blocks of HYDICE Urban and AVIRIS San Diego", "quarter of which scene", "unknown")


DATA: dict[str, Callable[[Path], Data]] = {
    "infrared": infrared,
    "xray": xray,
    "video": video,
    "point_cloud": point_cloud,
    "audio": audio,
    "time_series": time_series,
    "imu": imu,
    "ct": ct,
    "text": text,
    "table": table,
    "graph": graph,
    "hyperspectral": hyperspectral,
}


def _data(
    pairs: dict[str, list[tuple[Any, int]]], classes: Sequence[str], what: str, question: str, licence: str
) -> Data:
    """Test inputs that are also there to be trained on are left out."""
    known = {_fingerprint(source) for source, _ in pairs["train"]}
    train, test = pairs["train"], [pair for pair in pairs["test"] if _fingerprint(pair[0]) not in known]
    return Data(
        *([source for source, _ in part] for part in (train, test)),
        *([label for _, label in part] for part in (train, test)),
        tuple(classes),
        what,
        question,
        licence,
    )


def _fingerprint(source: Any) -> str:
    return hashlib.sha256(repr(_plain(source)).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _picture(content: bytes):
    from PIL import Image

    return Image.open(io.BytesIO(content))


def _ts(folder: Path, name: str, split: str) -> list[tuple[np.ndarray, int]]:
    """(channels, steps) and the class of every line of a .ts file."""
    archive = zipfile.ZipFile(folder / "ucr_uea_pieces" / "ucr_uea_ts.zip")
    body = archive.read(f"{name}/{name}_{split.upper()}.ts").decode().split("@data")[1].strip().splitlines()
    cells = [line.strip().split(":") for line in body]
    classes = sorted({row[-1] for row in cells})
    return [
        (np.array([[float(v) for v in c.split(",")] for c in row[:-1]], dtype=np.float32), classes.index(row[-1]))
        for row in cells
    ]


def _block(scan: np.ndarray, centre: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """A block around ``centre``, moved inwards where it would stick out, smaller where the scan is."""
    begin = [min(max(0, c - n // 2), max(0, whole - n)) for c, n, whole in zip(centre, size, scan.shape, strict=True)]
    return np.ascontiguousarray(scan[tuple(slice(b, b + n) for b, n in zip(begin, size, strict=True))])
