"""Neighbours of embeddings against loops, and the command over what ``unimodal embed`` wrote."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.inputs import write_inputs
from unimodal.__main__ import main
from unimodal.neighbours import neighbours


def by_hand(vectors: list[list[float]], members: list[int], i: int, count: int) -> list[tuple[int, float]]:
    mean = [sum(vectors[j][e] for j in members) / len(members) for e in range(len(vectors[0]))]
    gap = {j: [v - m for v, m in zip(vectors[j], mean, strict=True)] for j in members}

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    found = [(j, cosine(gap[i], gap[j])) for j in members if j != i]
    return sorted(found, key=lambda pair: -pair[1])[:count]


def test_they_are_the_largest_cosines_to_others_of_the_kind_in_loops():
    vectors = torch.randn(11, 6, dtype=torch.float64) + 5
    kinds = ["a", "b", "a", "a", "b", "a", "b", "a", "a", "c", "b"]
    found = neighbours(vectors, kinds=kinds, count=3)
    for i, own in enumerate(found):
        members = [j for j, kind in enumerate(kinds) if kind == kinds[i]]
        wanted = by_hand(vectors.tolist(), members, i, 3) if len(members) > 1 else []
        assert [j for j, _ in own] == [j for j, _ in wanted]
        assert [v for _, v in own] == pytest.approx([v for _, v in wanted], abs=1e-12)


def test_without_kinds_all_are_compared_with_all():
    vectors = torch.randn(7, 4, dtype=torch.float64)
    for i, own in enumerate(neighbours(vectors, count=9)):
        assert [j for j, _ in own] == [j for j, _ in by_hand(vectors.tolist(), list(range(7)), i, 9)]
        assert len(own) == 6


def test_what_all_embeddings_share_has_no_influence():
    vectors = torch.randn(20, 8, dtype=torch.float64)
    assert [[j for j, _ in own] for own in neighbours(vectors)] == [
        [j for j, _ in own] for own in neighbours(vectors + 1000)
    ]


def test_those_of_another_kind_have_no_influence():
    vectors, kinds = torch.randn(10, 4), ["a"] * 6 + ["b"] * 4
    before = neighbours(vectors, kinds=kinds, of=range(6))
    vectors[6:] = 100.0
    assert neighbours(vectors, kinds=kinds, of=range(6)) == before


def test_only_those_asked_about_come_back_and_in_their_order(monkeypatch):
    vectors = torch.randn(9, 5)
    every = dict(enumerate(neighbours(vectors)))
    monkeypatch.setattr("unimodal.neighbours.ROWS", 2)
    for asked in ([7, 0, 3, 8, 1], [4], []):
        for own, place in zip(neighbours(vectors, of=asked), asked, strict=True):
            assert [j for j, _ in own] == [j for j, _ in every[place]]


def test_equal_embeddings_have_cosine_nought_and_one_alone_has_none():
    assert [own[0][1] for own in neighbours(torch.full((4, 3), 0.1), count=1)] == [0.0] * 4
    assert neighbours(torch.ones(1, 3)) == [[]]
    assert neighbours(torch.zeros(0, 3)) == []


def test_wrong_arguments_raise():
    vectors = torch.randn(3, 2)
    with pytest.raises(ValueError, match=r"vectors must be \(N, E\)"):
        neighbours(vectors[0])
    with pytest.raises(ValueError, match="vectors must be finite"):
        neighbours(vectors / 0)
    with pytest.raises(ValueError, match="a word for each of 3"):
        neighbours(vectors, kinds=["a"])
    with pytest.raises(ValueError, match="count must be positive"):
        neighbours(vectors, count=0)
    with pytest.raises(ValueError, match="places from 0 to 2, not 3"):
        neighbours(vectors, of=[3])


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Path:
    """A run of ``unimodal embed`` over texts, series, one graph and a file that cannot be read."""
    folder, out = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("embedded")
    for name, words in {
        "dog": "a dog runs",
        "dogs": "a dog runs!",
        "bank": "Zinsen, Kurse und Renten",
        "b": "b",
    }.items():
        (folder / f"{name}.txt").write_text(words, encoding="utf-8")
    files = write_inputs(tmp_path_factory.mktemp("inputs"))
    (folder / "broken.png").write_text("no picture")
    words = [str(folder), str(files["graph"]), "--out", str(out), "--no-save-tokens"]
    assert main(["embed", *words]) == 1
    return out


def table(path: Path, **columns) -> Path:
    path.mkdir(parents=True)
    pq.write_table(pa.table(columns), path / "predictions.parquet")
    return path


def test_the_command_prints_a_line_of_json_for_each_input_and_notes_the_rest(embedded, capsys):
    capsys.readouterr()
    assert main(["neighbours", str(embedded), "--json", "--count", "2"]) == 0
    out, err = capsys.readouterr()
    rows = {Path(row["source"]).name: row for row in map(json.loads, out.splitlines())}
    assert Path(rows["dog.txt"]["neighbours"][0]["source"]).name == "dogs.txt"
    assert {near["modality"] for near in rows["dog.txt"]["neighbours"]} == {"text"}
    assert [len(row["neighbours"]) for row in rows.values()].count(2) == 4
    assert "note: 1 of the run's inputs have an error and no embedding" in err
    assert "is the only input of its modality and has no neighbours" in err


@pytest.mark.parametrize("shape", ["dog.txt", "whole", "folder"])
def test_one_input_is_asked_about_by_its_name_or_path(embedded, capsys, shape):
    [whole] = [
        name for name in pq.read_table(embedded / "predictions.parquet")["source"].to_pylist() if "dog.t" in name
    ]
    word = {"dog.txt": "dog.txt", "whole": whole, "folder": f"{Path(whole).parent.name}/dog.txt"}[shape]
    capsys.readouterr()
    assert main(["neighbours", str(embedded), "--of", word, "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["source"] == whole


def test_the_table_names_each_input_once_and_its_neighbours_beside_it(embedded, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    capsys.readouterr()
    assert main(["neighbours", str(embedded), "--of", "dog.txt", "--count", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count("dog.txt") == 1
    for word in ("dogs.txt", "bank.txt", "cosine"):
        assert word in out
    assert "modality" not in out
    assert main(["neighbours", str(embedded), "--across"]) == 0
    assert "graph" in capsys.readouterr().out


def test_what_cannot_be_used_is_one_line_and_an_exit_code(embedded, tmp_path, capsys):
    other = table(tmp_path / "other", source=["a"], status=["ok"], label=["cat"])
    failed = table(tmp_path / "failed", source=["a"], status=["error"], modality=["text"], embedding=[[1.0]])
    mixed = table(
        tmp_path / "mixed", source=["a", "b"], status=["ok"] * 2, modality=["text"] * 2, embedding=[[1.0], [1.0, 2.0]]
    )
    alone = table(tmp_path / "alone", source=["a"], status=["ok"], modality=["text"], embedding=[[1.0, 0.0]])
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "predictions.parquet").write_bytes(b"PAR1 and no more")
    capsys.readouterr()
    for words, code, told in (
        ([tmp_path / "gone"], 3, "gone: does not exist; make it with: unimodal embed"),
        ([tmp_path / "empty"], 3, "empty: has no predictions.parquet; make it with: unimodal embed"),
        ([tmp_path / "damaged"], 3, "is not a Parquet table that can be read"),
        ([other], 3, "has no column 'modality', so it holds no embeddings"),
        ([failed], 3, "has no row with an embedding"),
        ([mixed], 3, "has embeddings of several widths"),
        ([alone], 3, "is the only input in"),
        ([embedded, "--of", "dgo.txt"], 2, "no embedded input named 'dgo.txt'; did you mean 'dog.txt'"),
        ([embedded, "--count", "0"], 2, "--count"),
    ):
        assert main(["neighbours", *map(str, words)]) == code
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert told in lines[0]
