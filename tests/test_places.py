"""Where a token stands in its own sequence."""

import torch

from unimodal.places import places
from unimodal.side import Side


def test_places_begin_anew_with_each_sequence_of_a_packed_batch():
    cu = torch.tensor([0, 3, 4, 8], dtype=torch.int32)
    assert places(Side(cu_seqlens=cu), 8, cu.device).tolist() == [[0, 1, 2, 0, 0, 1, 2, 3]]


def test_rows_of_other_layouts_have_the_same_places():
    assert places(Side(lengths=torch.tensor([2, 4])), 4, torch.device("cpu")).tolist() == [[0, 1, 2, 3]]
