"""Claim: a 640 x 480 JPEG is read for a 224 px model in two thirds of the CPU time of Pillow's decode and resize.

    python -m benchmarks.image_read [--photos DIR]

One thread. Each round reads every picture once; the figures are for that many pictures. Without ``--photos`` the
pictures are made here: flat shapes with film grain, about 117 kB at quality 90. Exit code 1 when the claim fails.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow

from benchmarks.paired import compare
from unimodal.tokenizers.image import Image

__all__ = ["main"]

CLAIM = 1.5
COUNT = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="a folder of pictures; each is resized to 640 x 480 first")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = _photos(arguments.photos) if arguments.photos else [_drawn(seed) for seed in range(COUNT)]
    image = Image(192, size=224, fit="crop")

    def ours() -> None:
        for file in files:
            image.read(file)

    def decode() -> None:
        for file in files:
            Pillow.open(io.BytesIO(file)).load()

    def pillow() -> None:
        for file in files:
            _read_by_pillow(file)

    worst = max((image.read(f).data.float() - _read_by_pillow(f)).abs().mean().item() for f in files)
    if worst > 4:
        print(f"failed: the pictures differ by {worst:.1f} levels of 255 in the mean")
        return 1
    candidates = {"Image.read": ours, "Pillow decode": decode, "Pillow decode + resize + array": pillow}
    base = "Pillow decode + resize + array"
    size_kb = sum(map(len, files)) / len(files) / 1000
    setting = {"pictures": len(files), "mean_kb": round(size_kb, 1), "shape": "640x480 -> 224x224", "threads": 1}
    report = compare("image_read", candidates, base=base, rounds=arguments.rounds, **setting)
    verdict = report.verdict("Image.read", target=CLAIM)
    print(report.table())
    each_ms = {row["candidate"]: row["cpu_ms"]["median"] / len(files) for row in report.rows()}
    print("\n".join(f"{name}: {ms:.2f} ms of CPU a picture" for name, ms in each_ms.items()))
    print(f"{verdict.outcome}: {verdict.reason}\nwritten to {report.save()}")
    return verdict.exit_code


def _read_by_pillow(file: bytes) -> torch.Tensor:
    picture = Pillow.open(io.BytesIO(file)).convert("RGB")
    picture = picture.resize((224, 224), Pillow.Resampling.BICUBIC, box=(80, 0, 560, 480))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def _photos(folder: Path) -> list[bytes]:
    found = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")][:COUNT]
    if not found:
        raise SystemExit(f"no pictures in {folder}")
    return [_jpeg(Pillow.open(path).convert("RGB").resize((640, 480))) for path in found]


def _drawn(seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:480, :640]
    picture = np.zeros((480, 640, 3))
    for _ in range(40):
        centre_x, centre_y, radius = draw.uniform(0, 640), draw.uniform(0, 480), draw.uniform(10, 160)
        picture[(x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2] = draw.uniform(0, 255, 3)
    picture += draw.normal(0, 9, picture.shape[:2])[..., None]
    return _jpeg(Pillow.fromarray(picture.clip(0, 255).astype(np.uint8)))


def _jpeg(picture: Pillow.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
