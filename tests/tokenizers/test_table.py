"""The tokenizer ``table``: the feature tokenizer's equation, tables as they come, and what has no influence."""

import io
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch

from unimodal.block import Block
from unimodal.checkpoint import load_checkpoint, save
from unimodal.errors import InputError
from unimodal.hashed_code import hashed_code
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.part import Part
from unimodal.provenance import Provenance
from unimodal.testing import check_tokenizer
from unimodal.tokenizer_checks import CHECKS
from unimodal.tokenizers.table import Table
from unimodal.transformer import Transformer

PEOPLE = {"age": [20.0, 30.0, 40.0, None], "sex": ["f", "m", "f", None], "born": ["2001-05-06", "", "1990-01-01", ""]}
SCHEMA = {"sex": ("f", "m"), "age": (30.0, 10.0)}


def tokens_of(table: Table, source) -> torch.Tensor:
    sample = table.read(source)
    tokens = table(table.collate([sample]))
    assert tokens.side.grid is not None
    return tokens.x[0].unflatten(0, tokens.side.grid).detach()


def test_every_contract_of_tokenizers_holds():
    assert len(check_tokenizer("table", Table)) == len(CHECKS)


def test_without_a_schema_a_number_is_b_plus_asinh_of_its_robust_scale_times_w():
    table, m = Table(24).double(), 56
    x = tokens_of(table, {"a": [1.0, 2.0, 3.0, 10.0], "b": ["x", "y", "x", ""]})
    weight = table.project.weight.detach()
    q1, median, q3 = np.percentile([1, 2, 3, 10], (25, 50, 75))
    for row, value in enumerate([1, 2, 3, 10]):
        v = np.arcsinh((value - median) / ((q3 - q1) / 1.349))
        code = torch.tensor(hashed_code(("a",), buckets=m, hashes=14)).double()
        expected = [
            sum(weight[d, i] * code[i] + weight[d, m + i] * v * code[i] for i in range(m)) + weight[d, 2 * m]
            for d in range(24)
        ]
        torch.testing.assert_close(x[row, 0], torch.stack(expected), rtol=0, atol=1e-6)  # cells are float32
    for row, words in enumerate([("x",), ("y",), ("x",), ("", "missing")]):
        name, content = (torch.tensor(hashed_code(w, buckets=m, hashes=14)).double() for w in (("b",), ("b", *words)))
        kind = 2 * m + (3 if len(words) == 2 else 2)
        expected = weight[:, :m] @ name + weight[:, m : 2 * m] @ content + weight[:, kind]
        torch.testing.assert_close(x[row, 1], expected, rtol=0, atol=1e-6)


def test_with_a_schema_it_is_the_published_feature_tokenizer():
    table = Table(16, columns=SCHEMA)
    x, cells = tokens_of(table, PEOPLE), table.cells
    sex, age = cells.table.weight[:4], cells.table.weight[4:6]
    for row, (years, word) in enumerate(zip(PEOPLE["age"], PEOPLE["sex"], strict=True)):
        place = {None: 0, "f": 1, "m": 2}[word]
        for d in range(16):
            torch.testing.assert_close(x[row, 0, d], cells.bias[0, d] + sex[place, d])
            number = age[0, d] if years is None else (years - 30) / 10 * cells.weight[1, d]
            torch.testing.assert_close(x[row, 1, d], cells.bias[1, d] + number)
    classes = Table(16, columns={"class": ("1", "2", "0.5")})
    assert classes.read({"class": [2, 1, 0.5, 7, None]}).data[:, 0, 1].tolist() == [2, 1, 3, 4, 0]
    assert torch.equal(tokens_of(table, {"age": 30, "sex": "unheard of"})[0, 0], cells.bias[0] + sex[3])


def test_a_saved_schema_gives_the_same_tokens(tmp_path):
    block = Part(Block, mixer=Part(Full, heads=2), ffn=None)
    tokenizers = {"table": Part(Table, columns=Table.schema(PEOPLE))}
    part = Part(Model, dim=16, tokenizers=tokenizers, transformer=Part(Transformer, depth=1, blocks=block))
    model: Any = part().eval()
    save(model, tmp_path, part=part, provenance=Provenance())
    again: Any = load_checkpoint(tmp_path, allow_random=True)[0]
    assert torch.equal(tokens_of(again.tokenizer("table"), PEOPLE), tokens_of(model.tokenizer("table"), PEOPLE))


def test_both_forms_come_back_as_the_table_they_were():
    for table in (Table(128), Table(64, columns={**SCHEMA, "born": (10_000.0, 3000.0)})):
        batch = table.collate([table.read(PEOPLE), table.read({**PEOPLE, "age": [1, 1, 2, 100]})])
        back = table.detokenize(table(batch))
        restored = [record.restore(cells) for record, cells in zip(batch.records, back.data, strict=True)]
        assert restored[0]["sex"] == restored[1]["sex"] == PEOPLE["sex"]
        assert restored[0]["age"][3] is None
        assert restored[0]["age"][:3] == pytest.approx([20, 30, 40], abs=1e-4)
        assert restored[1]["age"] == pytest.approx([1, 1, 2, 100], abs=1e-2)
        assert restored[0]["born"][1] is None or table.columns
    assert restored[0]["born"][0] == pytest.approx(np.datetime64("2001-05-06").astype(int), abs=1e-2)


def test_dates_come_back_as_dates():
    table = Table(128)
    sample = table.read(PEOPLE)
    born = sample.record.restore(sample.data)["born"]
    assert born == [np.datetime64("2001-05-06"), None, np.datetime64("1990-01-01"), None]
    moments = table.read({"at": ["2024-01-31T10:20:30", "2024-03-01T00:00:01"]})
    for found, given in zip(moments.record.restore(moments.data)["at"], moments.original["at"], strict=True):
        assert abs(found - np.datetime64(given)) <= np.timedelta64(10, "s")  # float32 over a month


def test_permuting_columns_permutes_tokens_and_nothing_else():
    table = Table(32)
    x = tokens_of(table, PEOPLE)
    order = [2, 0, 1]
    moved = tokens_of(table, {name: PEOPLE[name] for name in np.array(list(PEOPLE))[order]})
    assert torch.equal(x[:, order], moved)


def test_rows_depend_on_one_another_through_the_scale_only():
    table = Table(32)
    x = tokens_of(table, PEOPLE)
    assert torch.equal(tokens_of(table, {k: v[::-1] for k, v in PEOPLE.items()}).flip(0), x)
    changed = tokens_of(table, {**PEOPLE, "sex": ["f", "m", "f", "m"]})
    assert torch.equal(changed[:3], x[:3])
    assert not torch.equal(changed[3], x[3])
    rescaled = tokens_of(table, {**PEOPLE, "age": [20.0, 30.0, 400.0, 400.0]})
    assert not torch.equal(rescaled[0, 0], x[0, 0])
    fixed = Table(32, columns=SCHEMA)
    alone, among = tokens_of(fixed, {"age": 20.0, "sex": "f"}), tokens_of(fixed, PEOPLE)
    torch.testing.assert_close(alone[0], among[0])


def test_a_large_table_gives_evenly_spaced_rows_and_the_record_says_which():
    table = Table(8, most=30)
    sample = table.read({f"c{i}": np.arange(1000.0) for i in range(3)})
    assert sample.data.shape[:2] == (10, 3)
    assert sample.record.rows == tuple(range(0, 1000, 100))
    assert sample.record.size == (1000, 3)
    wide = table.read({f"c{i}": 1.0 * i for i in range(120)})
    assert wide.data.shape[:2] == (1, 30)
    assert [column.name for column in wide.record.columns] == [f"c{4 * i}" for i in range(30)]


def test_the_default_never_gives_more_than_512_tokens():
    table = Table(8)
    shapes = [(1, 1), (511, 1), (513, 1), (171, 3), (3, 600), (100_000, 2)]
    costs = [table.read({f"c{i}": np.ones(rows) for i in range(columns)}).cost for rows, columns in shapes]
    assert costs == [1, 511, 512, 510, 512, 512]


def test_columns_that_hold_no_values_are_left_out_and_named():
    record = Table(8).read(pyarrow.table({"id": [1, 2], "picture": [b"x", b"y"], "tags": [["a"], []]})).record
    assert [column.name for column in record.columns] == ["id"]
    assert set(record.left_out) == {"picture", "tags"}
    assert "bytes" in record.left_out["picture"]
    schema = Table(8, columns={"id": (0.0, 1.0)}).read({"id": 1, "other": 2}).record
    assert schema.left_out == {"other": "the schema does not name it"}


def test_odd_tables_are_taken():
    table = Table(128)
    same = table.read(b"a,a,A\n1,2,3\n4,5,6\n")
    assert list(same.record.restore(same.data)) == ["a", "a (2)", "A"]
    empty = table.read({"a": [None, None], "b": [1, 2]})
    assert empty.record.restore(empty.data)["a"] == [None, None]
    constant = table.read({"a": [7.0, 7.0]})
    assert constant.record.restore(constant.data)["a"] == [7, 7]
    single = table.read({"a": -12345.0, "b": "x"})
    assert single.record.restore(single.data)["a"] == pytest.approx([-12345], rel=1e-5)
    bare = table.read(b"1,2\n3,4\n")
    assert bare.data.shape[:2] == (2, 2)


def bad(tmp_path, name: str, content: bytes):
    file = tmp_path / name
    file.write_bytes(content)
    return file


WHOLE = io.BytesIO()
parquet.write_table(pyarrow.table({"a": list(range(1000))}), WHOLE)


@pytest.mark.parametrize(
    "source, message", [({"age": 3}, "no column 'sex'"), ({"age": "old", "sex": "f"}, "holds words")]
)
def test_a_table_that_does_not_fit_the_schema_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        Table(8, columns=SCHEMA).read(source)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"most": 0}, "most must be"),
        ({"buckets": 10, "hashes": 4}, "buckets must be"),
        ({"columns": {}}, "at least one column"),
        ({"columns": {"a": (1.0, 0.0)}}, "columns\\['a'\\] must be"),
        ({"columns": {"a": ("x", "x")}}, "columns\\['a'\\] must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Table(8, **settings)


def test_there_is_no_way_back_below_the_width_of_a_cell():
    table = Table(64)
    with pytest.raises(ValueError, match="not invertible"):
        table.detokenize(table(table.collate([table.read(PEOPLE)])))
    fixed, other = Table(16, columns=SCHEMA), Table(16, columns={"age": (0.0, 1.0)})
    with pytest.raises(ValueError, match="none of a schema of 2"):
        fixed.detokenize(other(other.collate([other.read(PEOPLE)])))


def test_a_batch_has_at_least_one_table():
    with pytest.raises(ValueError, match="samples is empty"):
        Table(8).collate([])


def test_claims_are_below_those_of_tokenizers_that_know_the_columns(tmp_path):
    assert Table.claims(bad(tmp_path, "a.csv", b"a,b\n1,2\n")) == 0.5
    assert Table.claims(bad(tmp_path, "a.parquet", WHOLE.getvalue())) == 0.5
    assert Table.claims(bad(tmp_path, "a", bytes(100))) < 0.1


def test_the_schema_of_a_real_table_gives_it_back(shared_data):
    file = shared_data / "tabular_classics" / "penguins.parquet"
    rows = parquet.read_table(file).to_pylist()
    for table in (Table(128, most=7 * 344), Table(128, columns=Table.schema(file), most=7 * 344)):
        batch = table.collate([table.read(file)])
        back = batch.records[0].restore(table.detokenize(table(batch)).data[0])
        for i, row in enumerate(rows):
            for name, value in row.items():
                found = back[name][i]
                assert found == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)
