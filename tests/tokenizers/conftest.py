"""What tests of tokenizers share: writers of DICOM objects and series."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

IDENTITY = "Doe^Jane"  # written into every object, and never to be seen again


@pytest.fixture
def dicom() -> Callable[..., Path]:
    """Writes one DICOM object: ``dicom(path, stored, SliceThickness=2, ...)``; the keywords are its attributes.

    Integers of 16 bits are written as they are, others as 8 bits. ``syntax`` names the transfer syntax by its UID.
    """
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def write(path: Path, stored: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Path:
        meta: Any = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data: Any = pydicom.Dataset()
        data.file_meta = meta
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.PatientName, data.PatientID, data.PatientBirthDate = IDENTITY, "4711-0815", "19230405"
        data.Modality, data.SeriesInstanceUID, data.SeriesNumber = "CT", "1.2.3.4", 7
        data.Rows, data.Columns = stored.shape[-2:] if stored.shape[-1] != 3 else stored.shape[-3:-1]
        data.SamplesPerPixel = 3 if stored.shape[-1] == 3 else 1
        data.PhotometricInterpretation = "RGB" if stored.shape[-1] == 3 else "MONOCHROME2"
        if stored.shape[-1] == 3:
            data.PlanarConfiguration = 0
        data.BitsAllocated = data.BitsStored = 8 * stored.dtype.itemsize
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(stored.dtype.kind == "i")
        data.PixelData = stored.tobytes()
        for keyword, value in attributes.items():
            if value is None:
                data.pop(keyword, None)
            else:
                setattr(data, keyword, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def series(dicom: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Writes ``stored`` (S, Y, X) as a series under names without order; returns the folder."""

    def write(
        stored: np.ndarray, *, along=(1.0, 0, 0, 0, 1.0, 0), step=2.5, places=None, folder="scan", **attributes: Any
    ) -> Path:
        normal = np.cross(along[:3], along[3:])
        names = np.random.default_rng(1).permutation(len(stored))
        for s, plane in enumerate(stored):
            place = (np.array([-30.0, 20.0, 100.0]) + (s * step if places is None else places[s]) * normal).tolist()
            own = {k: v[s] if isinstance(v, list) and len(v) == len(stored) else v for k, v in attributes.items()}
            dicom(
                tmp_path / folder / f"IM{names[s]:03d}",
                plane,
                **{
                    "ImagePositionPatient": place,
                    "ImageOrientationPatient": list(along),
                    "PixelSpacing": [0.5, 0.75],
                    "SliceThickness": step,
                    "RescaleSlope": 1,
                    "RescaleIntercept": -1024,
                    "InstanceNumber": s + 1,
                    **own,
                },
            )
        return tmp_path / folder

    return write
