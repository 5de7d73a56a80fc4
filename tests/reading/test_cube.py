"""Cubes in every form, and what is wrong with bad ones."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokenizers.hyperspectral import Hyperspectral


def scene(rows=6, columns=5, bands=24, dtype="f4"):
    y, x, b = np.mgrid[:rows, :columns, :bands]
    return (1000 + 300 * np.sin(0.3 * b + 0.4 * y) + 40 * x).astype(dtype)


def returned(tokenizer, source) -> torch.Tensor:
    """The cube through tokens and back."""
    batch = tokenizer.collate([tokenizer.read(source)])
    return batch.records[0].restore(tokenizer.detokenize(tokenizer(batch)).data[0])


def envi(folder: Path, cube, *, name="cube", raw=".img", interleave="bsq", order=0, **entries) -> Path:
    """A cube as an ENVI file; ``entries`` change its header only, but for the offset."""
    kinds = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15}
    axes = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave]
    kind = cube.dtype.str[1:]
    offset = entries.get("header_offset", 0)
    content = cube.transpose(axes).astype(cube.dtype.newbyteorder("<>"[order])).tobytes()
    (folder / f"{name}{raw}").write_bytes(bytes(offset) + content)
    held = {
        "description": "{\n a scene,\n made = here}", "samples": cube.shape[1], "lines": cube.shape[0],
        "bands": cube.shape[2], "header offset": offset, "file type": "ENVI Standard", "data type": kinds[kind],
        "interleave": interleave, "byte order": order,
    }  # fmt: skip
    held |= {key.lower().replace("_", " "): value for key, value in entries.items()}
    header = folder / f"{name}.hdr"
    header.write_text("ENVI\n" + "".join(f"{k} = {v}\n" for k, v in held.items() if v is not None))
    return header


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", "u8"])
def test_every_layout_of_an_envi_file_is_the_same_cube(tmp_path, interleave, order, dtype):
    cube = (scene() / 8).astype(dtype)
    header = envi(tmp_path, cube, interleave=interleave, order=order, header_offset=7)
    sample = Hyperspectral(128).read(header)
    np.testing.assert_allclose(sample.record.restore(sample.data), cube, rtol=1e-5)


@pytest.mark.parametrize("raw", [".img", ".dat", ".raw", ".bil", ".BSQ", ""])
def test_header_and_raw_file_find_one_another(tmp_path, raw):
    cube = scene()
    header = envi(tmp_path, cube, raw=raw)
    for path in (header, tmp_path / f"cube{raw}", str(header)):
        sample = Hyperspectral(128).read(path)
        np.testing.assert_allclose(sample.record.restore(sample.data), cube, rtol=1e-5)
        assert Hyperspectral.claims(Path(path)) == 0.9
    header.rename(tmp_path / f"cube{raw}.hdr")
    assert Hyperspectral(8).read(tmp_path / f"cube{raw}").record.size == cube.shape


@pytest.mark.parametrize(
    "unit, given, expected",
    [
        ("Nanometers", [400, 500, 600], [400, 500, 600]),
        ("Micrometers", [0.4, 0.5, 0.6], [400, 500, 600]),
        ("um", [2.0, 10.0, 14.0], [2000, 10000, 14000]),
        (None, [0.4, 0.5, 0.6], [400, 500, 600]),
        ("Wavenumber", [1000, 2000, 4000], [10000, 5000, 2500]),
    ],
)
def test_wavelengths_become_positions_in_nanometres(tmp_path, unit, given, expected):
    words = "{\n" + " ,\n ".join(map(str, given)) + "}"
    header = envi(tmp_path, scene(2, 4, 3), wavelength=words, wavelength_units=unit)
    tokenizer = Hyperspectral(8, stem=Part(TubeletStem, patch=(2, 2, 2), channels=1))
    tokens = tokenizer(tokenizer.collate([tokenizer.read(header)]))
    assert tokens.side.grid == (2, 1, 2)
    first, last = np.mean(expected[:2]), expected[2]
    np.testing.assert_allclose(tokens.side.positions[0, :, 0], [first, first, last, last], rtol=1e-6)


def test_a_spectral_library_is_a_column_of_spectra(tmp_path):
    spectra = scene(3, 40, 1)  # three lines of forty samples in one band
    words = "{" + ", ".join(str(400 + 10 * i) for i in range(40)) + "}"
    record = (
        Hyperspectral(128).read(envi(tmp_path, spectra, file_type="ENVI Spectral Library", wavelength=words)).record
    )
    assert record.size == (3, 1, 40)
    np.testing.assert_allclose(returned(Hyperspectral(128), tmp_path / "cube.hdr")[:, 0], spectra[..., 0], rtol=1e-5)


def test_bad_bands_are_dropped_and_missing_values_come_back_missing(tmp_path):
    cube = scene()
    cube[2, 3, 4], cube[0, 0], cube[..., 7] = -9999, -9999, -9999
    bad = "{" + ", ".join("0" if i in (0, 1) else "1" for i in range(24)) + "}"
    header = envi(tmp_path, cube, bbl=bad, data_ignore_value=-9999)
    tokenizer = Hyperspectral(128)
    sample = tokenizer.read(header)
    assert sample.record.bands == tuple(i for i in range(24) if i not in (0, 1, 7))
    back = returned(tokenizer, header)
    expected = np.where(cube == -9999, np.nan, cube)[..., list(sample.record.bands)]
    np.testing.assert_allclose(back, expected, rtol=1e-5)
    assert sample.record.centre == pytest.approx(np.nanmean(expected))
    filled = sample.record.scale * sample.data[0].double().numpy() + sample.record.centre
    place = sample.record.bands.index(4)
    assert filled[place, 2, 3] == pytest.approx((cube[2, 3, 3] + cube[2, 3, 5]) / 2, rel=1e-4)


def test_every_form_of_an_array_is_the_same_cube(tmp_path):
    io_of = pytest.importorskip("scipy.io")
    cube = scene()
    np.save(tmp_path / "a.npy", cube)
    np.savez(tmp_path / "a.npz", cube=cube, mask=np.zeros((6, 5)), label=np.array("x"))
    np.savez_compressed(tmp_path / "b.npz", cube)
    io_of.savemat(tmp_path / "a.mat", {"scene": cube, "gt": np.zeros((6, 5), "u1"), "note": "text", "cell": {"a": 1}})
    io_of.savemat(tmp_path / "b.mat", {"scene": cube.astype("f8"), "s": 3}, do_compression=True)
    files = sorted(tmp_path.iterdir())
    sources = [*files, (tmp_path / "a.npy").read_bytes(), io.BytesIO((tmp_path / "a.npz").read_bytes()), cube[None]]
    sources += [torch.from_numpy(cube), {"cube": cube.tolist()}]
    for source in sources:
        np.testing.assert_allclose(returned(Hyperspectral(128), source), cube, rtol=1e-5)
    np.testing.assert_allclose(returned(Hyperspectral(128, bands="first"), cube.transpose(2, 0, 1)), cube, rtol=1e-5)
    np.testing.assert_allclose(returned(Hyperspectral(128, bands="middle"), cube.transpose(0, 2, 1)), cube, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_matlab_arrays_of_any_kind_are_those_of_scipy(tmp_path, dtype):
    from unimodal.reading.matlab_arrays import read_matlab_arrays

    io_of = pytest.importorskip("scipy.io")
    given = {"a": (scene() / 8).astype(dtype), "b": np.arange(7).astype(dtype), "a_long_name": np.zeros((2, 0), dtype)}
    for compressed in (False, True):
        io_of.savemat(tmp_path / "a.mat", {**given, "z": np.ones(2) * 1j}, do_compression=compressed)
        expected = io_of.loadmat(tmp_path / "a.mat")
        found = read_matlab_arrays((tmp_path / "a.mat").read_bytes())
        assert set(found) == set(given)
        for name, value in found.items():
            np.testing.assert_array_equal(value, expected[name])
            assert value.dtype == expected[name].dtype


def test_pages_of_a_tiff_file_are_bands(tmp_path):
    from PIL import Image

    cube = (scene() / 8).astype("u1")
    pages = [Image.fromarray(cube[..., i]) for i in range(24)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_allclose(returned(Hyperspectral(128), tmp_path / "a.tif"), cube, rtol=1e-4)


def test_one_of_several_arrays_is_chosen_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=scene(), y=2 * scene())
    with pytest.raises(InputError, match=r"a.npz: has 2 arrays of three axes \(x .*say which one with array="):
        Hyperspectral(8).read(tmp_path / "a.npz")
    np.testing.assert_allclose(returned(Hyperspectral(128, array="y"), tmp_path / "a.npz"), 2 * scene(), rtol=1e-5)
    with pytest.raises(InputError, match="a.npz: has no array 'z'"):
        Hyperspectral(8, array="z").read(tmp_path / "a.npz")


def saved(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


HEADER = b"ENVI\nsamples = 5\nlines = 6\nbands = 4\ndata type = 4\n"


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("empty.npy", b"", "is empty"),
        ("zeros.npy", bytes(500), "nothing but zeros"),
        ("garbage.npy", bytes(range(256)) * 4, "none of the known forms.*give ENVI, NPY"),
        ("cut.npy", saved(scene())[:500], "damaged or truncated"),
        ("head.npy", saved(scene())[:20], "damaged or truncated"),
        ("flat.npy", saved(scene()[..., 0]), r"shape \(6, 5\) is no cube"),
        ("none.npy", saved(np.zeros((0, 5, 4))), "has no values"),
        ("words.npy", saved(np.array([[["a"]]])), "holds <U1, not real numbers"),
        ("complex.npy", saved(scene() * 1j), "not real numbers"),
        ("nan.npy", saved(scene() * np.nan), "all are missing"),
        ("huge.npy", saved(scene(dtype="f8") * 1e304 * 10 ** (np.arange(24) / 24)), "too large for their scale"),
        ("cut.npz", b"PK\x03\x04" + bytes(40), "damaged or truncated"),
        ("new.mat", b"MATLAB 7.3 MAT-file" + bytes(200), "MATLAB 7.3.*save it with -v7"),
        ("cut.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"\x0e\0\0\0\xff\0\0\0", "is truncated"),
        ("none.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM", "no arrays of three axes"),
        ("cut.tif", b"II*\0\x08\0\0\0\x05\0", "damaged or truncated"),
        ("empty.hdr", b"", "is empty"),
        ("analyze.hdr", b"\x5c\1\0\0" + bytes(344), "is no ENVI header"),
        ("lonely.hdr", HEADER, "has no raw file beside it; put lonely.img"),
        ("headless.bsq", bytes(100), "has no ENVI header beside it; put headless.hdr"),
    ],
)
def test_a_bad_file_is_named_with_its_cause(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        Hyperspectral(8).read(tmp_path / name)


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"bands": None}, "cube.hdr: does not say 'bands'"),
        ({"lines": "six"}, "cube.hdr: says lines = six"),
        ({"lines": 0}, "cube.hdr: says lines = 0"),
        ({"lines": 600}, "cube.img: has 2880 bytes and its header asks for 288000"),
        ({"data_type": 6}, "its data type 6 is not read"),
        ({"INTERLEAVE": "bxq"}, "its interleave is 'bxq'"),
        ({"file_compression": 1}, "is compressed"),
        ({"wavelength": "{400, 500}"}, "'wavelength' are 2 numbers for 24 bands"),
        ({"bbl": "{a, b}"}, "'bbl' are no numbers"),
    ],
)
def test_a_header_that_makes_no_sense_is_told(entries, message, tmp_path):
    header = envi(tmp_path, scene(), **entries)
    with pytest.raises(InputError, match=message):
        Hyperspectral(8).read(header)


@pytest.mark.parametrize(
    "source, message",
    [
        ("missing.npy", "does not exist"),
        ("missing.hdr", "does not exist"),
        (np.zeros(5), r"shape \(5,\) is no cube"),
        ({"values": 3}, "has no 'cube'"),
        ({"cube": [[1], [1, 2]]}, "no arrays of numbers"),
        ({"cube": np.ones((2, 2, 5)), "wavelengths": [1, 2]}, "2 wavelengths for 5 bands"),
        ({"cube": np.ones((2, 2, 5)), "good": [False] * 5}, "all are missing or of bad bands"),
        (np.ones((2, 2, 5000)), "5000 bands, which are 625 groups of 8"),
        (None, "cannot be read as a hyperspectral cube"),
        (b"hello", "none of the known forms"),
    ],
)
def test_a_bad_source_is_named_with_its_cause(source, message):
    with pytest.raises(InputError, match=message):
        Hyperspectral(8).read(source)


def test_damaged_files_raise_nothing_but_input_errors(tmp_path):
    io_of, random = pytest.importorskip("scipy.io"), np.random.default_rng(0)
    io_of.savemat(tmp_path / "a.mat", {"scene": scene(dtype="f8")}, do_compression=True)
    from PIL import Image

    Image.fromarray(scene(dtype="u2")[..., 0]).save(tmp_path / "a.tif", compression="tiff_adobe_deflate")
    np.savez_compressed(tmp_path / "a.npz", scene())
    (tmp_path / "a.npy").write_bytes(saved(scene()))
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        for place in random.integers(0, min(len(whole), 400), 40):
            broken = bytearray(whole)
            broken[place] ^= int(random.integers(1, 256))
            try:
                Hyperspectral(8).read(bytes(broken))
            except InputError:
                continue
