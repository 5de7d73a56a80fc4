"""Decoding child: the program that decodes DICOM pixels with gdcm, run by :mod:`unimodal.reading.isolated_decoder` by
its path.

On standard input it takes one request after another: a line of JSON with the attributes of the pixel data and the
``length`` of the bytes that follow. For each it writes a line of JSON, with ``shape`` and ``dtype`` and the ``length``
of the bytes that follow, or with the ``error``.
"""

import json
import sys
import warnings
from typing import Any

__all__ = ["serve"]


def serve() -> None:
    """Answer until the input ends."""
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        data = sys.stdin.buffer.read(request.pop("length"))
        try:
            values = _decoded(request, data)
            answer: dict[str, Any] = {"shape": values.shape, "dtype": values.dtype.str, "length": values.nbytes}
            content = values.tobytes()
        except Exception as error:
            answer, content = {"error": f"{type(error).__name__}: {error}"}, b""
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + content)
        sys.stdout.buffer.flush()


def _decoded(attributes: dict[str, Any], data: bytes) -> Any:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    item: Any = Dataset()
    meta: Any = FileMetaDataset()
    meta.TransferSyntaxUID = UID(attributes.pop("TransferSyntaxUID"))
    item.file_meta = meta
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    item.PixelData = data
    item["PixelData"].VR, item["PixelData"].is_undefined_length = "OB", True
    item.pixel_array_options(decoding_plugin="gdcm")
    return item.pixel_array


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve()
