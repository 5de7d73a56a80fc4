"""Side: descriptions, and constraints that are honoured or refused by name."""

import pytest
import torch

from unimodal.side import Side
from unimodal.tokens import Tokens

CONSTRAINTS = {
    "mask": torch.ones(1, dtype=torch.bool),
    "bias": torch.zeros(1),
    "memory": Tokens(torch.zeros(1, 2, 3)),
    "causal": True,
    "lengths": torch.tensor([1]),
    "cu_seqlens": torch.tensor([0, 1]),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_set_constraint_that_is_not_among_the_names_raises(name):
    side = Side().replace(**{name: CONSTRAINTS[name]})
    with pytest.raises(ValueError, match=rf"'{name}' is set and not supported here \(supported: none\)"):
        side.honour()
    others = [other for other in CONSTRAINTS if other != name]
    with pytest.raises(ValueError, match=f"supported: {', '.join(others)}"):
        side.honour(*others)
    assert side.honour(name) is side


def test_descriptions_and_constraints_that_are_not_set_ask_for_nothing():
    side = Side(grid=(2, 3), prefix=1, positions=torch.zeros(1, 7, 2), modality="image", size=torch.ones(1, 7))
    assert side.honour() is side
    assert Side(causal=False).honour() is not None


def test_replace_changes_a_copy():
    side = Side(prefix=1)
    assert (side.replace(prefix=2).prefix, side.prefix) == (2, 1)


def test_the_lattice_of_each_sequence():
    assert Side(grid=(2, 3)).lattices(2) == ((2, 3), (2, 3))
    assert Side(grids=((2, 3), (4, 1))).lattices(2) == ((2, 3), (4, 1))


def test_tensors_are_the_fields_that_move_between_devices():
    size, lengths = torch.ones(1, 7), torch.tensor([7])
    side = Side(grid=(7,), modality="image", size=size, lengths=lengths)
    assert set(side.tensors()) == {"size", "lengths"}
    assert set(side.replace(modality=torch.zeros(1, 7)).tensors()) == {"size", "lengths", "modality"}


def test_padded_and_packed_at_once_raises():
    with pytest.raises(ValueError, match=r"lengths \(padded\) and cu_seqlens \(packed\) exclude each other"):
        Side(lengths=torch.tensor([1]), cu_seqlens=torch.tensor([0, 1]))


def test_one_lattice_and_several_at_once_raises():
    with pytest.raises(ValueError, match="not both"):
        Side(grid=(2, 3), grids=((2, 3),))


def test_lattices_of_another_number_of_sequences_or_none_raise():
    with pytest.raises(ValueError, match="side.grids has 1 lattices for 2 sequences"):
        Side(grids=((2, 3),)).lattices(2)
    with pytest.raises(ValueError, match=r"side.grid \(or side.grids\) is needed here and not set"):
        Side().lattices(2)


def test_a_sequence_has_several_lattices_or_one():
    assert Side(levels=((4, 6), (2, 3))).honour().levels == ((4, 6), (2, 3))
    with pytest.raises(ValueError, match="levels \\(several lattices a sequence\\) or a lattice"):
        Side(levels=((4, 6),), grid=(4, 6))
