"""Tables in every form that other programs write, and what is wrong with bad ones."""

import io

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch

from unimodal.errors import InputError
from unimodal.tokenizers.table import Table


def tokens_of(table: Table, source) -> torch.Tensor:
    sample = table.read(source)
    tokens = table(table.collate([sample]))
    assert tokens.side.grid is not None
    return tokens.x[0].unflatten(0, tokens.side.grid).detach()


def excel(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("cp1252")


@pytest.mark.parametrize(
    "content",
    [
        "name;größe;preis\nÄpfel;1,5;2.000,00\nBirnen;2,25;3,50\n".encode("utf-8-sig"),
        excel("name;größe;preis\nÄpfel;1,5;2.000,00\nBirnen;2,25;3,50\n"),
        excel("sep=;\nname;größe;preis\nÄpfel;1,5;2.000,00 €\nBirnen;2,25;3,50 €\n"),
        "name\tgröße\tpreis\nÄpfel\t1.5\t2000\nBirnen\t2.25\t3.5\n".encode("utf-16"),
        'name,größe,preis\n"Äpfel",1.5,"2,000.00"\nBirnen,2.25,3.50\n'.encode(),
    ],
)
def test_exports_of_spreadsheets_are_one_and_the_same_table(content, tmp_path):
    file = tmp_path / "export.csv"
    file.write_bytes(content)
    sample = Table(128).read(file)
    back = sample.record.restore(sample.data)
    assert back["name"] == ["Äpfel", "Birnen"]
    assert back["größe"] == pytest.approx([1.5, 2.25], abs=1e-6)
    assert back["preis"] == pytest.approx([2000, 3.5], abs=1e-2)


def test_every_kind_of_source_gives_the_same_tokens(tmp_path):
    pandas = pytest.importorskip("pandas")
    columns = {"n": [1.5, 2.5, 9.0], "word": ["a", None, "b"]}
    arrow = pyarrow.table(columns)
    parquet.write_table(arrow, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("n,word\n1.5,a\n2.5,\n9.0,b\n")
    table = Table(16)
    expected = tokens_of(table, columns)
    rows = [{"n": 1.5, "word": "a"}, {"n": 2.5}, {"n": 9.0, "word": "b"}]
    buffer = io.BytesIO((tmp_path / "t.parquet").read_bytes())
    for source in (tmp_path / "t.csv", str(tmp_path / "t.parquet"), buffer, arrow, pandas.DataFrame(columns), rows):
        assert torch.equal(tokens_of(table, source), expected)
    array = np.array([[1.5, 2.0], [2.5, 3.0]])
    named = np.array([(1.5, 2.0), (2.5, 3.0)], dtype=[("column 1", float), ("column 2", float)])
    assert torch.equal(tokens_of(table, array), tokens_of(table, named))


def bad(tmp_path, name: str, content: bytes):
    file = tmp_path / name
    file.write_bytes(content)
    return file


WHOLE = io.BytesIO()
parquet.write_table(pyarrow.table({"a": list(range(1000))}), WHOLE)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"a,b\n", "has a header and no rows"),
        ("mark.csv", b"\xef\xbb\xbf", "is empty"),
        ("comma.csv", b" , \n", "is empty"),
        ("ragged.csv", b"a,b\n1,2\n3\n", "line 3 has 1 fields, the first row 2"),
        ("garbage.csv", bytes(range(256)) * 8, "is no text"),
        ("book.csv", b"PK\x03\x04" + bytes(100), "workbook.*save the sheet as CSV"),
        ("old.csv", b"\xd0\xcf\x11\xe0" + bytes(100), "Excel workbook.*save the sheet as CSV"),
        ("cut.parquet", WHOLE.getvalue()[:-100], "no Parquet file, or a damaged one"),
        ("text.parquet", b"a,b\n1,2\n", "no Parquet file"),
        ("none.parquet", b"", "is empty"),
        ("infinite.csv", b"a,b\n1,inf\n2,3\n", "the column 'b' is infinite in row 1"),
        ("twelve.parquet", b"PAR1" + bytes(200) + b"PAR1", "no Parquet file, or a damaged one"),
    ],
)
def test_a_bad_file_is_named_with_its_cause(name, content, message, tmp_path):
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        Table(8).read(bad(tmp_path, name, content))


def test_a_damaged_parquet_file_raises_nothing_but_input_errors(tmp_path):
    whole = bytearray(WHOLE.getvalue())
    places = np.random.default_rng(0).integers(4, len(whole), 60)
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        try:
            Table(8).read(bytes(broken))
        except InputError:
            continue


@pytest.mark.parametrize(
    "source, message",
    [
        ("missing.csv", "does not exist"),
        ({}, "has no columns"),
        ([], "has no rows"),
        ({"a": []}, "has no rows"),
        ({"a": [1, 2], "b": [1]}, "different lengths"),
        ({"a": [1, 2], "b": 1}, "'b' is a single one"),
        ([{"a": 1}, 3], "item 1 is a int"),
        ({"a": [b"x"]}, "no column holds values"),
        (np.zeros((2, 2, 2)), "3 axes"),
        (7, "cannot be read as a table"),
        (None, "cannot be read as a table"),
    ],
)
def test_a_bad_source_is_named_with_its_cause(source, message):
    with pytest.raises(InputError, match=message):
        Table(8).read(source)
