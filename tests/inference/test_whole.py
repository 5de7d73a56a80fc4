"""A table or a folder is one input of a task that reads it as such, and a list of inputs of any other."""

from types import SimpleNamespace

import pytest

from unimodal.catalog import catalog
from unimodal.errors import UnknownNameError
from unimodal.inference.sources import find
from unimodal.inference.whole import reads_whole


@pytest.fixture
def series_task(monkeypatch):
    """A task whose tokenizer reads CSV files and claims folders that are called ``study``."""
    tokenizer = SimpleNamespace(suffixes=(".csv",), claims=lambda path: float(path.name == "study"))
    monkeypatch.setitem(catalog("tokenizers")._built_in, "study_reader", "nowhere")
    monkeypatch.setitem(catalog("tokenizers")._loaded, "study_reader", tokenizer)
    return SimpleNamespace(inputs=("study_reader",))


def test_a_table_is_one_input_of_a_task_that_reads_tables(series_task, tmp_path):
    (tmp_path / "load.csv").write_text("t,load\n1,2\n")
    sources = find(tmp_path / "load.csv", whole=lambda path: reads_whole(series_task, path))
    assert [item.value for item in sources] == [tmp_path / "load.csv"]
    assert not reads_whole(SimpleNamespace(inputs=("image",)), tmp_path / "load.csv")


def test_a_named_column_makes_it_a_table_of_inputs_again(series_task, tmp_path):
    (tmp_path / "files.csv").write_text("file\na.csv\nb.csv\n")
    sources = find(tmp_path / "files.csv", column="file", whole=lambda path: reads_whole(series_task, path))
    assert [item.value for item in sources] == [tmp_path / "a.csv", tmp_path / "b.csv"]
    with pytest.raises(UnknownNameError):
        find(tmp_path / "files.csv", column="image", whole=lambda path: reads_whole(series_task, path))


def test_a_claimed_folder_is_one_input_and_another_gives_its_files(series_task, tmp_path):
    for name in ("study", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    assert reads_whole(series_task, tmp_path / "study")
    assert not reads_whole(series_task, tmp_path / "other")
    named = [tmp_path / "study", tmp_path / "other"]
    found = [item.value for item in find(named, whole=lambda path: reads_whole(series_task, path))]
    assert found == [tmp_path / "study", tmp_path / "other" / "file"]


def test_a_task_without_catalogued_inputs_reads_lists(tmp_path):
    assert not reads_whole(SimpleNamespace(inputs=("nothing_of_ours",)), tmp_path)
    assert not reads_whole(SimpleNamespace(), tmp_path)


def test_a_claimed_folder_within_a_folder_is_one_input_and_is_not_entered(series_task, tmp_path):
    for name in ("a/study", "a/other", "study"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    whole = lambda path: reads_whole(series_task, path)  # noqa: E731
    flat = [item.value for item in find(tmp_path, whole=whole)]
    deep = [item.value for item in find(tmp_path, recursive=True, whole=whole)]
    assert flat == [tmp_path / "study"]
    assert sorted(deep) == [tmp_path / "a" / "other" / "file", tmp_path / "a" / "study", tmp_path / "study"]
