"""Delimited text as spreadsheets write it: delimiters, decimal signs, encodings, headers, and what is refused."""

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading.delimited import numbers, read_delimited

ROWS = "name,height,day\nAnna,1.5,2020-01-01\nBob,,2020-01-02\n"


@pytest.mark.parametrize(
    "content",
    [
        ROWS.encode(),
        b"\xef\xbb\xbf" + ROWS.replace("\n", "\r\n").encode(),
        ROWS.encode("utf-16"),
        ROWS.replace(",", "\t").encode(),
        ROWS.replace(",", ";").encode(),
        ROWS.replace(",", ";").replace("1.5", "1,5").encode(),
        b"sep=;\n" + ROWS.replace(",", ";").encode(),
        ROWS.replace("\n", ",\n").encode(),
    ],
)
def test_the_same_table_is_read_from_every_dialect(content):
    table = read_delimited(content)
    assert table.names == ("name", "height", "day")
    assert table.words[0] == ["Anna", "Bob"]
    found = numbers(table.words[1], decimal_comma=table.decimal_comma)
    assert found is not None
    np.testing.assert_equal(found, [1.5, np.nan])
    assert numbers(table.words[2]) is None


@pytest.mark.parametrize(("one", "comma"), [("1.200,50", True), ("1,200.50", False), ("12.05", False)])
def test_the_decimal_sign_is_seen_where_every_number_has_thousands(one, comma):
    assert read_delimited(f"day;sales\n01.01.2023;{one}\n02.01.2023;{one}\n".encode()).decimal_comma is comma


def test_a_file_without_a_header_gets_numbered_columns():
    table = read_delimited(b"1;2\n3;4\n")
    assert table.names == ("column 1", "column 2")
    assert table.rows == 2
    assert not table.headed


def test_a_windows_code_page_is_read():
    assert read_delimited("Größe;n\nklein;1\n".encode("cp1252")).names == ("Größe", "n")


def test_quoted_fields_keep_delimiters_and_line_breaks():
    table = read_delimited(b'a,b\n"x, y\nz",1\n')
    assert table.words == (["x, y\nz"], ["1"])


def test_equal_names_are_told_apart():
    assert read_delimited(b"x,x\n1,2\n").names == ("x", "x (2)")


@pytest.mark.parametrize(
    "content, cause",
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b",,\n,,\n", "is empty: no cell has anything in it"),
        (b"sep=;\n", "is empty: no cell has anything in it"),
        (b"a,b\n", "has a header and no rows"),
        (b"a,b\n1,2\n1,2,3\n", "rows are ragged: line 3 has 3 fields, the first row 2"),
        (b"sep=,\nA report\na,b\n1,2\n1,2,3\n", "rows are ragged: line 5 has 3 fields, the first row 2"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "is no text"),
        (bytes(range(128, 160)) * 20, "is no text"),
    ],
)
def test_what_is_no_table_is_refused(content, cause):
    with pytest.raises(InputError, match=cause):
        read_delimited(content)


@pytest.mark.parametrize(
    "word, value", [("1e3", 1000.0), ("-.5", -0.5), ("50%", 50.0), ("\u22121", -1.0), ("inf", np.inf)]
)
def test_numbers_in_other_spellings(word, value):
    found = numbers([word])
    assert found is not None
    assert found.tolist() == [value]


@pytest.mark.parametrize("word", ["1,2,3", "abc", "2020-01-01", "1,5"])
def test_words_that_are_no_numbers(word):
    assert numbers([word]) is None


@pytest.mark.parametrize(
    "above",
    [b"Station report 2023\n\n", b"Station report\nmade in March\n", b"Report,,\n", b"Station report,,\nNorth,,\n"],
)
def test_titles_above_a_table_are_none_of_its_rows(above):
    table = read_delimited(above + ROWS.encode())
    assert table.names == ("name", "height", "day")
    assert table.rows == 2
    assert len(table.titles) == above.replace(b"\n\n", b"\n").count(b"\n")


def test_a_single_column_has_no_titles():
    table = read_delimited(b"height\n1\n2\n")
    assert (table.names, table.titles, table.rows) == (("height",), (), 2)
