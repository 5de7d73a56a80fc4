"""Inputs: one typical file of every modality, as its own tools write it, for benchmarks and for tests of whole flows.

    python -m benchmarks.inputs FOLDER

Everything is made from formulas with a fixed seed, so the files are the same everywhere and belong to nobody.
"""

import json
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["WRITERS", "write_inputs"]


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write a file (or a folder) for every modality; returns them by the name of their tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: write(folder) for name, write in WRITERS.items()}


def image(folder: Path) -> Path:
    """A JPEG of 640 x 480 px with the spectrum of a photo."""
    from PIL import Image

    path = folder / "photo.jpg"
    planes = np.stack([_photo(480, 640, seed) for seed in range(3)], -1)
    Image.fromarray((planes * 255).astype(np.uint8)).save(path, quality=90)
    return path


def infrared(folder: Path) -> Path:
    """A thermal frame of 320 x 256 px, 14 of 16 bits, with one hot spot."""
    from PIL import Image

    path = folder / "thermal.tiff"
    y, x = np.mgrid[:256, :320]
    frame = 7000 + 600 * _photo(256, 320, 4) + 4000 * np.exp(-((y - 90) ** 2 + (x - 200) ** 2) / 30)
    Image.fromarray(frame.astype(np.uint16)).save(path)
    return path


def xray(folder: Path) -> Path:
    """A radiograph as DICOM: 1024 x 1024 px, 12 of 16 bits, MONOCHROME1."""
    path = folder / "radiograph.dcm"
    pixels = (4095 * (1 - _photo(1024, 1024, 5))).astype(np.uint16)
    data = _dicom("1.2.840.10008.5.1.4.1.1.1.1", "DX", pixels)
    data.PhotometricInterpretation, data.BitsStored, data.HighBit = "MONOCHROME1", 12, 11
    data.save_as(path, enforce_file_format=True)
    return path


def video(folder: Path) -> Path:
    """Four seconds of H.264 at 320 x 240 px and 25 frames a second: a bright square that crosses a still picture."""
    import av

    path = folder / "clip.mp4"
    still = (np.stack([_photo(240, 320, seed) for seed in (6, 7, 8)], -1) * 200).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for t in range(100):
            frame = still.copy()
            frame[100:140, 2 * t : 2 * t + 40] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def point_cloud(folder: Path) -> Path:
    """A scan as binary PLY: 20,000 coloured points on a bent surface."""
    path = folder / "scan.ply"
    noise = np.random.default_rng(9)
    u, v = noise.uniform(-1, 1, (2, 20_000))
    rows = np.empty(20_000, dtype=[(n, "<f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue")])
    rows["x"], rows["y"], rows["z"] = u, v, 0.4 * np.sin(3 * u) * np.cos(2 * v)
    for name in ("red", "green", "blue"):
        rows[name] = noise.integers(0, 255, 20_000)
    lines = ["ply", "format binary_little_endian 1.0", "element vertex 20000"]
    lines += [f"property float {n}" for n in "xyz"] + [f"property uchar {n}" for n in ("red", "green", "blue")]
    path.write_bytes("\n".join([*lines, "end_header\n"]).encode() + rows.tobytes())
    return path


def audio(folder: Path) -> Path:
    """Five seconds of stereo at 44.1 kHz, 16 bits: a rising tone over noise."""
    path = folder / "sound.wav"
    t = np.arange(5 * 44_100) / 44_100
    tone = 0.4 * np.sin(2 * np.pi * (200 + 300 * t) * t) + 0.02 * np.random.default_rng(10).standard_normal(len(t))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes((np.stack([tone, 0.5 * tone], -1) * 32_000).astype("<i2").tobytes())
    return path


def time_series(folder: Path) -> Path:
    """Twenty days of hours, three loads with a daily rhythm, as a spreadsheet exports them."""
    path = folder / "loads.csv"
    noise, lines = np.random.default_rng(11), ["date;HUFL;MUFL;OT"]
    for hour in range(480):
        values = [5 + 3 * np.sin(2 * np.pi * (hour + 4 * k) / 24) + 0.3 * noise.standard_normal() for k in range(3)]
        stamp = f"{1 + hour // 24:02d}.03.2021 {hour % 24:02d}:00"
        lines.append(";".join([stamp, *(f"{v:.3f}".replace(".", ",") for v in values)]))
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    return path


def imu(folder: Path) -> Path:
    """Ten seconds of a phone at 100 Hz: accelerometer and gyroscope while walking."""
    path = folder / "walk.csv"
    t, noise = np.arange(1000) / 100, np.random.default_rng(12)
    axes = [9.81 * (k == 2) + (2 + k) * np.sin(2 * np.pi * 1.8 * t + k) for k in range(3)]
    axes += [0.5 * np.cos(2 * np.pi * 1.8 * t + k) for k in range(3)]
    rows = np.stack([t, *(axis + 0.1 * noise.standard_normal(len(t)) for axis in axes)], -1)
    np.savetxt(path, rows, "%.5f", ",", header="time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", comments="")
    return path


def ct(folder: Path) -> Path:
    """A CT series as a folder of DICOM files: 40 slices of 128 x 128 px, 3 x 2.5 x 2.5 mm, a body with a spine."""
    series = folder / "ct_series"
    series.mkdir(exist_ok=True)
    y, x = np.mgrid[:128, :128] - 63.5
    for z in range(40):
        hu = np.where((x / 50) ** 2 + (y / 38) ** 2 < 1, 40.0, -1000.0)
        hu = np.where((x**2 + (y - 22) ** 2) < (8 + z / 20) ** 2, 400.0, hu) + 15 * _photo(128, 128, z)
        data = _dicom("1.2.840.10008.5.1.4.1.1.2", "CT", np.round(hu + 1024).astype(np.uint16))
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.ImagePositionPatient, data.ImageOrientationPatient = [-160, -160, 3.0 * z], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness, data.InstanceNumber = [2.5, 2.5], 3, z + 1
        data.SOPInstanceUID = f"1.2.826.0.1.3680043.2.1.{z + 1}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.save_as(series / f"IM{z:04d}", enforce_file_format=True)
    return series


def text(folder: Path) -> Path:
    """A page of plain text."""
    path = folder / "note.txt"
    sentence = "Every modality becomes tokens, one core transforms them, and every task reads them. "
    path.write_text(sentence * 5, encoding="utf-8")
    return path


def table(folder: Path) -> Path:
    """Sixty rows of six columns: names, numbers, a flag and gaps."""
    path = folder / "animals.csv"
    noise, lines = np.random.default_rng(13), ["species,island,mass_g,wing_mm,sex,year"]
    for i in range(60):
        species = ("gull", "tern", "auk")[i % 3]
        mass = "" if i % 11 == 0 else f"{400 + 200 * (i % 3) + 30 * noise.standard_normal():.0f}"
        wing = f"{180 + 20 * (i % 3) + 4 * noise.standard_normal():.1f}"
        lines.append(",".join([species, ("east", "west")[i % 2], mass, wing, ("f", "m", "")[i % 3], str(2007 + i % 3)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def graph(folder: Path) -> Path:
    """A ring of 24 nodes with chords, as node-link JSON."""
    path = folder / "ring.json"
    nodes = [{"id": i, "kind": "even" if i % 2 == 0 else "odd", "weight": 0.1 * i} for i in range(24)]
    links = [{"source": i, "target": (i + 1) % 24, "kind": "ring"} for i in range(24)]
    links += [{"source": i, "target": (i + 7) % 24, "kind": "chord"} for i in range(0, 24, 3)]
    path.write_text(json.dumps({"directed": False, "nodes": nodes, "links": links}), encoding="utf-8")
    return path


def hyperspectral(folder: Path) -> Path:
    """A cube of 100 x 80 px and 120 bands: three materials with spectra of their own."""
    path = folder / "scene.npy"
    bands = np.linspace(0, 1, 120)
    spectra = np.stack([np.exp(-((bands - c) ** 2) / 0.05) + 0.2 * bands for c in (0.2, 0.5, 0.8)])
    share = np.stack([_photo(100, 80, seed) for seed in (20, 21, 22)], -1)
    np.save(path, (4000 * (share / share.sum(-1, keepdims=True)) @ spectra).astype(np.uint16))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "image": image,
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


def _photo(rows: int, columns: int, seed: int) -> np.ndarray:
    """A plane in 0..1 whose amplitudes fall as those of a photo, with frequency to the -1.5."""
    noise = np.random.default_rng(seed).standard_normal((rows, columns))
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None])
    plane = np.fft.ifft2(np.fft.fft2(noise) * np.maximum(frequency, 1 / max(rows, columns)) ** -1.5).real
    return (plane - plane.min()) / (plane.max() - plane.min())


def _dicom(kind: str, modality: str, pixels: np.ndarray) -> Any:
    """A data set with what a reader needs, and nobody in it."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    data: Any = Dataset()
    meta: Any = FileMetaDataset()
    data.file_meta, meta.TransferSyntaxUID = meta, ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.826.0.1.3680043.2.2.1"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.826.0.1.3680043.2.3.1", "1.2.826.0.1.3680043.2.4.1"
    data.Modality, data.PatientName, data.PatientID = modality, "", ""
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = pixels.tobytes()
    return data


if __name__ == "__main__":
    for name, path in write_inputs(Path(sys.argv[1])).items():
        print(f"{name}: {path}")
