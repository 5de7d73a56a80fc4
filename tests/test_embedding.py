"""Files of every modality become tokens and a vector each, through one encoder object."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.inputs import WRITERS, write_inputs
from unimodal.__main__ import main
from unimodal.detection import modality_of
from unimodal.embedding import Embedder
from unimodal.errors import InputError
from unimodal.inference.runner import run
from unimodal.model import Model
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.weights_file import read_weights


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    model: Any = small_multimodal_encoder()().eval()
    return Embedder(model)


@pytest.mark.parametrize("modality", WRITERS)
def test_a_file_of_each_modality_is_embedded(files, embedder, modality):
    given = None if modality != "infrared" else "infrared"  # a 16-bit picture does not say what light it shows
    reader = embedder if given is None else Embedder(embedder.module, given)
    sample = reader.read(files[modality])
    assert sample.modality == modality
    [found] = reader.predict([sample])
    count = 1
    for n in found.lattice:
        count *= n
    assert found.tokens.shape == (sample.cost, embedder.module.dim)
    assert count == sample.cost
    assert found.vector.shape == (embedder.module.dim,)
    assert bool(found.vector.isfinite().all())


def test_one_encoder_object_serves_every_modality(embedder):
    assert sum(isinstance(module, torch.nn.Module) for module in embedder.module.tokenizers.values()) >= 12
    cores = [m for m in embedder.module.modules() if type(m) is type(embedder.module.transformer)]
    assert len(cores) == 1


def test_a_batch_of_many_modalities_gives_what_each_gives_alone(files, embedder):
    samples = [embedder.read(files[name]) for name in ("image", "text", "audio", "table", "graph")]
    together = embedder.predict([*samples, samples[0]])
    for one, sample in zip(together, samples, strict=False):
        [alone] = embedder.predict([sample])
        torch.testing.assert_close(one.vector, alone.vector, rtol=0, atol=1e-5)
    assert [found.modality for found in together] == ["image", "text", "audio", "table", "graph", "image"]


@pytest.mark.parametrize("modality", [name for name in WRITERS if name != "infrared"])
def test_the_modality_of_each_file_is_seen(files, modality):
    assert modality_of(files[modality]) == modality


def test_a_run_over_a_folder_keeps_every_row_and_the_tokens(files, embedder, tmp_path):
    folder = files["image"].parent
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sound.wav").write_bytes(b"RIFF....")
    (tmp_path / "broken" / "notes.xyzw").write_bytes(b"?")
    done = run(embedder, [folder, tmp_path / "broken"], tmp_path / "out")
    rows = pq.read_table(done.table).to_pylist()
    assert (done.errors, len(rows)) == (2, len(WRITERS) + 2)
    for row in rows:
        if row["status"] == "ok":
            kept = read_weights(tmp_path / "out" / row["artefacts"][0])
            assert kept["tokens"].shape == (row["tokens"], row["width"])
            torch.testing.assert_close(kept["embedding"], torch.tensor(row["embedding"]))
    errors = {Path(row["source"]).name: row["error"] for row in rows if row["status"] == "error"}
    assert "no tokenizer knows a file ending in '.xyzw'" in errors["notes.xyzw"]


def test_a_model_of_one_modality_reads_everything_with_it(embedder):
    part = small_multimodal_encoder()
    kept = {"text": part.kwargs["tokenizers"]["text"]}
    model: Any = part.replace(tokenizers=kept, positions={"text": part.kwargs["positions"]["text"]})()
    assert Embedder(model).read(b"plain bytes").modality == "text"


def test_what_cannot_be_embedded_is_told(embedder):
    bare: Any = small_multimodal_encoder().replace(readout=None)()
    with pytest.raises(ValueError, match="no readout"):
        Embedder(bare)
    with pytest.raises(ValueError, match="not 'smell'"):
        Embedder(embedder.module, "smell")
    with pytest.raises(InputError, match="its modality cannot be seen"):
        embedder.read(b"bytes of something")


def test_the_command_shows_tokens_and_embeddings_and_tells_errors(files, tmp_path, capsys):
    (tmp_path / "empty.png").touch()
    assert main(["embed", str(files["image"]), str(files["text"]), str(tmp_path / "empty.png")]) == 1
    out, err = capsys.readouterr()
    assert "image" in out
    assert "text" in out
    assert "empty.png: is empty (0 bytes)" in err


def test_a_narrow_terminal_shows_each_column_whole_and_folds_long_paths(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = tmp_path / "a folder with a long name" / "a photograph of [red] things.jpg"
    long.parent.mkdir()
    long.write_bytes(files["image"].read_bytes())
    (tmp_path / "b.jpg").write_bytes(files["image"].read_bytes())
    assert main(["embed", "-r", str(tmp_path), str(files["hyperspectral"])]) == 0
    assert main(["embed", "-r", str(tmp_path)]) == 0
    mixed, inside = capsys.readouterr().out.split("keeps them all, and the tokens.\n")[:2]
    assert {len(line) for line in mixed.splitlines() if line[0] in "┏┃┡│└"} == {80}
    assert "hyperspectral" in mixed
    assert "│ b.jpg " in inside, "the folder that all inputs share is not shown"
    shown = "".join(line.split("│")[1].strip() for line in inside.splitlines() if line.startswith("│")).replace(" ", "")
    assert "afolderwithalongname/aphotographof[red]things.jpg" in shown
    assert inside.count("64 x 128") == 2


def test_what_was_assumed_or_left_out_is_told_and_kept(files, embedder, tmp_path, capsys):
    [found] = embedder.predict([embedder.read(files["imu"])])
    assert found.to_json()["notes"] == list(found.notes) != []
    copy = tmp_path / "again.csv"
    copy.write_bytes(files["imu"].read_bytes())
    assert main(["embed", str(files["imu"]), str(copy), str(files["image"])]) == 0
    out = capsys.readouterr().out
    for note in found.notes:
        assert out.count(f"note: {note} (") == 1
    assert "An embedding has 128 numbers" in out
    done = run(embedder, [files["imu"], files["image"]], tmp_path / "out")
    assert [row["notes"] for row in pq.read_table(done.table).to_pylist()] == [list(found.notes), []]


def test_the_command_writes_a_table_and_goes_on_where_it_stopped(files, tmp_path, capsys):
    command = ["embed", str(files["table"]), str(files["imu"]), "--out", str(tmp_path / "out"), "--no-save-tokens"]
    assert main(command) == 0
    assert main(command) == 0
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [row["modality"] for row in rows] == ["table", "imu"]
    assert rows[0]["artefacts"] == []
    assert "2 embeddings, 0 errors" in capsys.readouterr().out


def test_the_embedded_model_is_trained_in_every_part():
    from unimodal.pretrained import load_with_info

    model, info = load_with_info("unimodal:small_multimodal_encoder")
    assert isinstance(model, Model)
    assert info.provenance.random(model) == []
