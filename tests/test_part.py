"""Part: checked when written, built later, printed as Python, and through JSON and back."""

import json

import pytest

from unimodal.block import Block
from unimodal.errors import UnknownNameError
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.norms.rms import RMSNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.transformer import Transformer

BLOCK = Part(Block, mixer=Part(Full, heads=2, norm=Part(RMSNorm)), ffn=Part(Plain, ratio=2.0))
CORE = Part(Transformer, depth=4, blocks=(BLOCK, BLOCK.replace(layout="post")), norm=Part(LayerNorm, eps=1e-5))


class Outside:
    def __init__(self, dim: int, **anything: object) -> None:
        self.dim, self.anything = dim, anything


def test_it_builds_with_the_sizes_and_the_stored_keywords():
    norm = Part(LayerNorm, eps=0.5, bias=False)(7)
    assert (norm.weight.shape, norm.eps, norm.bias) == ((7,), 0.5, None)
    assert Part(LayerNorm, eps=0.5)(7, eps=0.25).eps == 0.25
    assert Part(LayerNorm, dim=3)().weight.shape == (3,)


def test_every_call_builds_a_new_object():
    part = Part(LayerNorm)
    assert part(3).weight is not part(3).weight


def test_a_typing_error_fails_on_its_own_line_with_the_nearest_name():
    with pytest.raises(ValueError, match="Full has no parameter 'head'; did you mean 'heads'"):
        Part(Full, head=3)
    with pytest.raises(ValueError, match="RMSNorm has no parameter 'momentum'; it takes: dim, eps"):
        Part(RMSNorm, momentum=3)
    with pytest.raises(ValueError, match="LayerNorm has no parameter 'esp'; did you mean 'eps'"):
        Part(LayerNorm).replace(esp=1.0)


def test_a_class_that_takes_any_keyword_takes_any_keyword():
    assert Part(Outside, colour="red")(3).anything == {"colour": "red"}


@pytest.mark.parametrize("value", [LayerNorm, object(), {1: 2}, [{"a": LayerNorm}], b"x"])
def test_a_value_that_is_neither_plain_data_nor_a_part_raises(value):
    with pytest.raises(ValueError, match=r"Outside\(thing=\.\.\.\) must be plain data or a Part, not"):
        Part(Outside, thing=value)


def test_lists_become_tuples_and_parts_may_be_nested_anywhere():
    part = Part(Outside, grid=[2, 3], parts={"a": [Part(RMSNorm)]})
    assert part.kwargs == {"grid": (2, 3), "parts": {"a": (Part(RMSNorm),)}}


def test_parts_are_equal_by_class_and_keywords_in_any_order_and_then_hash_alike():
    one, other = Part(Full, heads=2, bias=False), Part(Full, bias=False, heads=2)
    assert one == other
    assert len({one, other, Part(Full, heads=2, bias=0)}) == 1
    assert len({Part(Outside, a={"b": (1, 2)}), Part(Outside, a={"b": [1, 2]})}) == 1
    assert one != Part(Full, heads=2)
    assert Part(LayerNorm) != Part(RMSNorm)
    assert Part(LayerNorm) != "LayerNorm"


def test_replace_leaves_the_original():
    assert BLOCK.replace(layout="post") != BLOCK
    assert BLOCK.replace(layout="post").replace(layout="pre") == BLOCK.replace(layout="pre")
    assert "layout" not in BLOCK.kwargs


def test_it_prints_as_the_python_that_makes_it():
    assert (
        repr(Part(Full, heads=2, norm=Part(RMSNorm, eps=1e-6))) == "Part(Full, heads=2, norm=Part(RMSNorm, eps=1e-06))"
    )
    names = {c.__name__: c for c in (Part, Transformer, Block, Full, Plain, LayerNorm, RMSNorm)}
    assert eval(repr(CORE), names) == CORE


@pytest.mark.parametrize(
    "part",
    [
        CORE,
        Part(Learned, grid=(2, 3)),
        Part(Model, tokenizers={}, transformer=CORE, positions={"dict": Part(Learned, grid=(2,))}, readout=None),
    ],
)
def test_it_comes_back_from_json_as_it_went(part):
    assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part


def test_json_names_parts_by_their_catalog():
    data = CORE.to_json()
    assert data["part"] == "transformer"
    assert data["with"]["norm"] == {"part": "norms.layer", "with": {"eps": 1e-5}}
    assert data["with"]["blocks"][0]["part"] == "block"


def test_a_class_in_no_catalog_cannot_be_written():
    with pytest.raises(ValueError, match="Outside is in no catalog, so a saved part could not be found again"):
        Part(Outside, inner=Part(Outside)).to_json()
    with pytest.raises(ValueError, match="Outside is in no catalog"):
        Part(Block, mixer=Part(Outside), ffn=None).to_json()


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "norms",
        "norms.os",
        "norms.layer.LayerNorm",
        "norms.../part",
        "unimodal.part.Part",
        "",
        "subprocess",
    ],
)
def test_json_with_a_name_in_no_catalog_raises_and_runs_nothing(name):
    with pytest.raises(UnknownNameError, match="no .* named"):
        Part.from_json({"part": name, "with": {}})


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        "norms.layer",
        None,
        {"part": "norms.layer"},
        {"part": "norms.layer", "with": []},
        {"part": ["norms.layer"], "with": {}},
        {"part": "norms.layer", "with": {}, "more": 1},
        {"part": "block", "with": {"mixer": {"dict": 3}}},
    ],
)
def test_json_of_another_form_raises(data):
    with pytest.raises(ValueError, match="a part is written as"):
        Part.from_json(data)


def test_json_with_a_keyword_that_the_class_does_not_take_raises():
    with pytest.raises(ValueError, match="LayerNorm has no parameter 'esp'"):
        Part.from_json({"part": "norms.layer", "with": {"esp": 1}})
