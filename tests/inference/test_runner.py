"""The runner: one table with a row for each input, artefacts, and going on with what is there."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unimodal.errors import InputError, UnknownNameError
from unimodal.inference.runner import run
from unimodal.task import load_task


class Writing:
    """A prediction that saves a text beside its row."""

    def __init__(self, inner):
        self.inner = inner

    def to_json(self):
        return self.inner.to_json()

    def save(self, folder, stem):
        path = folder / f"{stem}.txt"
        path.write_text(self.inner.source)
        return [path]


@pytest.fixture
def task(classifier):
    """A classifier that writes artefacts, and counts how many samples it has seen."""
    ready = load_task("classification", classifier)
    plain = ready.predict
    ready.seen = []

    def predict(samples):
        ready.seen += [sample.source for sample in samples]
        return [Writing(prediction) for prediction in plain(samples)]

    ready.predict = predict
    return ready


@pytest.fixture
def photos(coloured_shapes, tmp_path):
    folder = tmp_path / "photos"
    for name in ("x/1.png", "y/1.png", "y/2.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(coloured_shapes / "test" / ("red" if name[0] == "x" else "blue") / "0.png", folder / name)
    return folder


def rows(summary):
    return pq.read_table(summary.table).to_pylist()


def test_the_summary_says_how_linear_maps_were_computed_and_both_ways_predict_the_same(classifier, photos, tmp_path):
    ready = load_task("classification", classifier)
    packed = run(ready, photos, tmp_path / "packed", recursive=True)
    plain = run(ready, photos, tmp_path / "plain", recursive=True, linear_maps="reference")
    assert plain.linear_maps == "reference: asked for"
    assert packed.linear_maps == "oneDNN with packed weights: 5 of 5 linear maps fit"  # of one block and a head
    for one, other in zip(rows(plain), rows(packed), strict=True):
        assert one["source"] == other["source"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_every_input_has_a_row_and_artefacts_of_equal_stems_have_their_own_names(task, photos, tmp_path):
    (photos / "y" / "3.png").write_text("no picture")
    summary = run(task, photos, tmp_path / "out", recursive=True)
    assert (summary.ok, summary.errors, summary.resumed) == (3, 1, 0)
    assert summary.examples[0].startswith(f"{photos}/y/3.png: is not an image file")
    found = rows(summary)
    assert [row["source"].removeprefix(f"{photos}/") for row in found] == ["x/1.png", "y/1.png", "y/2.png", "y/3.png"]
    assert [row["label"] for row in found] == ["red", "blue", "blue", None]
    files = [file for row in found for file in row["artefacts"] or ()]
    assert len(set(files)) == 3
    assert [(tmp_path / "out" / file).read_text() for file in files] == [row["source"] for row in found[:3]]
    columns = pq.read_schema(summary.table)
    assert columns.names == ["source", "status", "error", "label", "probability", "top", "artefacts"]
    assert columns.field("artefacts").type == pa.list_(pa.string())


def test_a_second_run_does_only_what_is_new_changed_or_was_an_error_and_forgets_what_is_gone(task, photos, tmp_path):
    (photos / "y" / "3.png").write_text("no picture")
    first = {row["source"]: row for row in rows(run(task, photos, tmp_path / "out", recursive=True))}
    task.seen.clear()
    shutil.copy(photos / "x" / "1.png", photos / "y" / "3.png")  # repaired
    shutil.copy(photos / "x" / "1.png", photos / "a.png")  # new, and in front
    shutil.copy(photos / "x" / "1.png", photos / "y" / "1.png")  # changed
    os.utime(photos / "y" / "1.png", ns=(1, 1))
    (photos / "y" / "2.png").unlink()
    summary = run(task, photos, tmp_path / "out", recursive=True)
    assert sorted(task.seen) == [f"{photos}/{name}" for name in ("a.png", "y/1.png", "y/3.png")]
    assert (summary.ok, summary.errors, summary.resumed) == (4, 0, 1)
    found = rows(summary)
    assert [row["source"].removeprefix(f"{photos}/") for row in found] == ["a.png", "x/1.png", "y/1.png", "y/3.png"]
    assert [row["label"] for row in found] == ["red"] * 4
    assert found[1] == first[f"{photos}/x/1.png"]
    files = [file for row in found for file in row["artefacts"]]
    assert len(set(files)) == 4


def test_a_restart_does_everything_again_and_removes_the_old_artefacts(task, photos, tmp_path):
    run(task, photos, tmp_path / "out", recursive=True)
    shutil.rmtree(photos / "y")
    summary = run(task, photos, tmp_path / "out", recursive=True, restart=True)
    assert (summary.ok, summary.resumed) == (1, 0)
    assert len(list((tmp_path / "out" / "artefacts").iterdir())) == 1


def test_the_same_input_twice_is_two_rows(task, photos, tmp_path):
    summary = run(task, [photos / "x" / "1.png"] * 2, tmp_path / "out")
    assert [row["label"] for row in rows(summary)] == ["red", "red"]


def test_rows_of_a_table_are_named_by_number(task, photos, tmp_path):
    encoded = (photos / "x" / "1.png").read_bytes()
    pq.write_table(pa.table({"photo": [encoded, b"no picture", encoded]}), tmp_path / "t.parquet")
    summary = run(task, tmp_path / "t.parquet", tmp_path / "out", column="photo")
    found = rows(summary)
    assert [row["source"] for row in found] == [f"{tmp_path}/t.parquet row {i}" for i in range(3)]
    assert [row["status"] for row in found] == ["ok", "error", "ok"]
    assert {file for row in found for file in row["artefacts"] or ()} == {
        "artefacts/t-row-0.txt",
        "artefacts/t-row-2.txt",
    }


def test_artefacts_can_be_left_out(task, photos, tmp_path):
    summary = run(task, photos / "x", tmp_path / "out", artefacts=False)
    assert rows(summary)[0]["artefacts"] == []
    assert not (tmp_path / "out" / "artefacts").exists()


@pytest.mark.parametrize(
    "columns, told",
    [
        ({"value": np.float32(1)}, "TypeError: Object of type float32 is not JSON serializable"),
        ({"status": "fine"}, "ValueError: to_json() has the keys status, which are columns of the runner's own"),
    ],
)
def test_a_plugin_that_returns_no_plain_row_gives_error_rows_and_no_crash(columns, told, task, photos, tmp_path):
    plain = task.predict

    def predict(samples):
        found = plain(samples)
        for prediction in found:
            prediction.to_json = lambda: columns
        return found

    task.predict = predict
    summary = run(task, photos, tmp_path / "out", recursive=True)
    assert [row["error"] for row in rows(summary)] == [told] * 3


def test_a_column_of_no_common_type_is_written_as_json(task, photos, tmp_path):
    values, plain = iter([1, "two", {"three": 3}]), task.predict

    def predict(samples):
        found = plain(samples)
        for prediction, value in zip(found, values, strict=False):
            prediction.to_json = lambda value=value: {"value": value}
        return found

    task.predict = predict
    found = rows(run(task, photos, tmp_path / "out", recursive=True))
    assert [json.loads(row["value"]) for row in found] == [1, "two", {"three": 3}]


def test_progress_counts_up_to_the_total(task, photos, tmp_path):
    told = []
    run(task, photos, tmp_path / "out", recursive=True, report=told.append)
    assert [(p.done, p.total, p.errors) for p in told] == [(1, 3, 0), (2, 3, 0), (3, 3, 0)]
    assert told[-1].left_s == 0
    assert all(p.rate_hz > 0 for p in told)


def test_an_interrupt_leaves_a_table_of_what_was_done_and_says_so(task, photos, tmp_path):
    notes = []

    def stop(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(task, photos, tmp_path / "out", recursive=True, report=stop, note=notes.append)
    table = tmp_path / "out" / "predictions.parquet"
    assert pq.read_table(table).num_rows == 2
    assert notes == [f"2 of 3 rows are in {table}; run the same command again to go on"]
    assert run(task, photos, tmp_path / "out", recursive=True).resumed == 2


def test_what_cannot_be_gone_on_with_is_refused(task, photos, tmp_path):
    out = tmp_path / "out"
    run(task, photos, out, recursive=True)
    before = (out / "predictions.parquet").read_bytes()
    task.module.head.weight.data.add_(1)
    with pytest.raises(ValueError, match=r"journal.jsonl holds another run \(weights .* --restart to replace it"):
        run(task, photos, out, recursive=True)
    (out / "journal.jsonl").unlink()
    with pytest.raises(ValueError, match=r"predictions.parquet is there without its journal"):
        run(task, photos, out, recursive=True)
    assert (out / "predictions.parquet").read_bytes() == before
    with pytest.raises(ValueError, match="is one of the sources and cannot be the output folder"):
        run(task, photos, photos)


def test_a_file_that_is_no_journal_is_left_alone(task, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "journal.jsonl").write_text("my diary\n")
    with pytest.raises(ValueError, match="holds another run"):
        run(task, photos, tmp_path / "out", recursive=True)
    assert (tmp_path / "out" / "journal.jsonl").read_text() == "my diary\n"


def test_two_runs_at_once_into_one_folder_are_refused(task, photos, tmp_path):
    def again(progress):
        with pytest.raises(ValueError, match="is being written by another process"):
            run(task, photos, tmp_path / "out", recursive=True)

    assert run(task, photos, tmp_path / "out", recursive=True, report=again).ok == 3


def test_nothing_to_read_and_wrong_columns_are_refused_before_the_output_is_made(task, tmp_path):
    (tmp_path / "t.csv").write_text("imge\nx.png\n")
    with pytest.raises(UnknownNameError, match="did you mean 'imge'"):
        run(task, tmp_path / "t.csv", tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        run(task, tmp_path / "gone.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_an_os_error(task, photos, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="out"):
        run(task, photos, tmp_path / "out", recursive=True)
