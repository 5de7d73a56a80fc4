"""Label maps of instances: pairs, sixteen bits, refusals, and real nuclei."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unimodal.data.instance_maps import instance_maps, read_instances
from unimodal.errors import InputError
from unimodal.run_lengths import decode

pytest.importorskip("pycocotools")


def folder(path: Path, labels: np.ndarray) -> Path:
    (path / "images").mkdir()
    (path / "instances").mkdir()
    Image.new("RGB", labels.shape[::-1]).save(path / "images" / "a.jpg")
    Image.fromarray(labels).save(path / "instances" / "a.png")
    return path


def test_each_number_of_sixteen_bits_is_an_instance_of_one_class(tmp_path):
    labels = np.zeros((9, 12), np.uint16)
    labels[1:4, 2:6], labels[5:, 8:] = 40000, 2
    ((picture, target),) = instance_maps(folder(tmp_path, labels))
    assert picture.name == "a.jpg"
    found = read_instances(target)
    assert found.boxes.tolist() == [[8, 5, 12, 9], [2, 1, 6, 4]]
    assert found.labels.tolist() == [0, 0]
    assert np.asarray(found.areas).tolist() == [16, 12]
    assert np.array_equal(decode(list(found.masks or ())[1]), labels == 40000)


def test_a_map_of_background_has_no_instances(tmp_path):
    ((_, target),) = instance_maps(folder(tmp_path, np.zeros((5, 4), np.uint16)))
    assert (len(read_instances(target)), read_instances(target).size) == (0, (5, 4))


def test_a_folder_laid_out_otherwise_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no pictures in images/; images/NAME.jpg with instances/NAME.png are exp"):
        instance_maps(tmp_path)
    (folder(tmp_path, np.zeros((5, 4), np.uint16)) / "instances" / "a.png").unlink()
    with pytest.raises(InputError, match=r"a.jpg: has no instance; .*a.png is expected"):
        instance_maps(tmp_path)


def test_a_map_in_colours_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="is a picture of mode RGB, not a label map"):
        read_instances(tmp_path / "a.png")


def test_real_nuclei_are_all_there(shared_data):
    with zipfile.ZipFile(shared_data / "dsb2018_nuclei" / "dsb2018_instance_masks.zip") as archive:
        for name in archive.namelist()[:3]:
            labels = np.asarray(Image.open(io.BytesIO(archive.read(name))))
            found = read_instances(archive.read(name))
            assert len(found) == len(np.unique(labels)) - 1 > 3
            assert sum(decode(mask).astype(int) for mask in found.masks or ()).max() == 1  # pyright: ignore
            assert np.asarray(found.areas).sum() == (labels > 0).sum()
