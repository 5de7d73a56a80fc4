"""Sources: what files, folders, globs and tables name, in which order, and what is refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unimodal.errors import InputError, UnknownNameError
from unimodal.inference.sources import find


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png", "sub/c.png", "sub/deep/d.png", ".cache/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def names(sources, folder):
    assert sources.total == len(list(sources)), "the total is what comes"
    return [item.name.removeprefix(f"{folder}/") for item in sources]


def test_a_folder_gives_its_files_by_name_and_says_what_it_did_not_enter(folder):
    found = find(folder)
    assert names(found, folder) == ["a.jpg", "b.png", "notes.txt"]
    assert found.notes == (f"{folder}: 1 folders in it were not entered (--recursive does)",)


def test_sub_folders_are_entered_on_request_but_for_the_output(folder):
    found = find(folder, recursive=True)
    assert names(found, folder) == ["a.jpg", "b.png", "notes.txt", "sub/c.png", "sub/deep/d.png"]
    assert found.notes == ()
    assert "sub/deep/d.png" not in names(find(folder, recursive=True, skip=folder / "sub" / "deep"), folder)


def test_a_folder_named_like_a_picture_and_a_broken_link_are_inputs(folder):
    (folder / "z.jpg").mkdir()
    (folder / "link.png").symlink_to(folder / "nowhere")
    assert names(find(folder), folder) == ["a.jpg", "b.png", "link.png", "notes.txt", "z.jpg"]


def test_sources_keep_their_order_and_a_missing_file_among_others_is_an_input(folder):
    found = find([folder / "b.png", folder / "gone.png", folder / "sub"])
    assert names(found, folder) == ["b.png", "gone.png", "sub/c.png"]


def test_a_glob_gives_matching_files_by_name(folder):
    assert names(find(f"{folder}/*.[pj]*g"), folder) == ["a.jpg", "b.png"]
    assert names(find(f"{folder}/**/*.png"), folder) == ["b.png", "sub/c.png", "sub/deep/d.png"]


def test_a_csv_column_holds_paths_beside_the_table_and_an_empty_cell_is_an_empty_input(folder):
    (folder / "t.csv").write_text("n,photo\n1,sub/c.png\n2,\n")
    found = find(folder / "t.csv", column="photo")
    assert [(item.name, item.value) for item in found] == [
        (f"{folder}/sub/c.png", folder / "sub/c.png"),
        (f"{folder}/t.csv row 1", b""),
    ]


def test_a_parquet_column_holds_encoded_files_or_paths_or_both(folder):
    cells = [{"bytes": b"encoded", "path": None}, {"bytes": None, "path": "b.png"}]
    pq.write_table(pa.table({"image": cells, "raw": [b"one", b"two"]}), folder / "t.parquet")
    both, raw = find(folder / "t.parquet"), find(folder / "t.parquet", column="raw")
    assert [item.value for item in both] == [b"encoded", folder / "b.png"]
    assert [(item.name, item.value) for item in raw] == [
        (f"{folder}/t.parquet row 0", b"one"),
        (f"{folder}/t.parquet row 1", b"two"),
    ]
    assert len({item.stem for item in raw}) == 2


def test_rows_of_a_large_table_are_not_held_together(folder):
    pq.write_table(pa.table({"image": [bytes(1000)] * 500}), folder / "t.parquet", row_group_size=50)
    stream = iter(find(folder / "t.parquet"))
    assert next(stream).name.endswith("row 0")
    assert sum(1 for _ in stream) == 499


@pytest.mark.parametrize(
    "sources, told",
    [
        ([], "no sources: there is nothing to read"),
        (["a.jgp"], "a.jgp: does not exist; did you mean .*a.jpg?"),
        (["*.gif"], r"\*.gif: matches no file"),
        (["empty"], "empty: has no files"),
        (["empty.csv"], "empty.csv: has no rows"),
        (["words.parquet"], "words.parquet: is no Parquet file that can be read"),
        (["latin.csv"], "latin.csv: is no CSV file that can be read"),
    ],
)
def test_nothing_to_read_is_an_error_that_says_why(sources, told, folder):
    (folder / "empty").mkdir()
    (folder / "empty.csv").write_text("image\n")
    (folder / "words.parquet").write_text("no parquet")
    (folder / "latin.csv").write_bytes("image\nmünze.png\n".encode("latin-1"))
    with pytest.raises(InputError, match=told):
        find([str(folder / source) for source in sources])


def test_a_wrong_column_names_the_nearest(folder):
    (folder / "t.csv").write_text("imge\na.jpg\n")
    with pytest.raises(UnknownNameError, match=r"no column in .*t.csv \(--column\) named 'image'; did you mean 'imge'"):
        find(folder / "t.csv")
