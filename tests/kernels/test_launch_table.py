"""The table of launches: every row is there, fits the kernels, and the nearest older processor's is taken."""

import json

import pytest

from unimodal.kernels.ahead_of_time import SHARED_BYTES
from unimodal.kernels.launch_table import BITS, INTERPRETED, KINDS, TABLE, WIDTHS, launch_of

ROWS = [(kind, width, bits, plain) for kind in KINDS for width in WIDTHS for bits in BITS for plain in (True, False)]


@pytest.mark.parametrize("architecture", SHARED_BYTES)
def test_every_kernel_width_and_dtype_has_a_row_of_powers_of_two(architecture):
    for kind, width, bits, plain in ROWS:
        row = launch_of(kind, architecture=architecture, width=width, bits=bits, plain=plain)
        for number in (row.queries, row.keys, row.warps):
            assert number & (number - 1) == 0
        assert min(row.queries, row.keys) >= 16, "a tensor core takes no smaller tile"
        assert row.stages >= 1
        if kind == "diagonals":
            assert row.queries == row.keys, "diagonals of blocks are those of square ones"


def test_the_table_has_no_row_that_nothing_asks_for():
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert sorted(table) == sorted(map(str, SHARED_BYTES))
    assert all(len(rows) == len(ROWS) for rows in table.values())


def test_a_newer_processor_takes_the_rows_of_the_newest_one_that_is_not_newer():
    row = {sm: launch_of("forward", architecture=sm, width=128) for sm in (80, 86, 89, 90, 100)}
    assert row[86] == row[89] == row[80]
    assert row[100] == row[90]


def test_narrow_heads_take_the_row_of_32():
    assert launch_of("keys", architecture=90, width=16) == launch_of("keys", architecture=90, width=32)


def test_without_an_architecture_the_interpreter_has_one_row():
    assert {launch_of(kind) for kind in KINDS} == {INTERPRETED}


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"kind": "sideways"}, "kind must be one of forward, queries, keys, diagonals, bias, not 'sideways'"),
        ({"architecture": 75}, "rows from sm_80 on, not for sm_75"),
        ({"width": 512}, "no row 'forward 512 wide 16 bits plain': heads are at most 256 wide"),
        ({"bits": 64}, "no row 'forward 64 wide 64 bits plain'"),
    ],
)
def test_what_has_no_row_is_refused_with_what_there_is(wrong, said):
    with pytest.raises(ValueError, match=said):
        launch_of(**({"kind": "forward", "architecture": 90} | wrong))
