"""Samples as one batch: one tensor of equal sizes, a tuple of others, and what belongs to tokens beside them."""

import pytest
import torch

from unimodal.cells import tokens_of_cells
from unimodal.collation import as_their_tokens, collated, in_one
from unimodal.sample import Batch, Sample


def samples(*shapes):
    return [Sample("image", torch.randn(shape), f"input {i}", f"record {i}", 1) for i, shape in enumerate(shapes)]


def test_samples_of_one_size_become_one_tensor_with_their_records_in_order():
    given = samples((3, 4), (3, 4))
    batch = collated("image", given)
    assert batch.modality == "image"
    assert batch.records == ("record 0", "record 1")
    assert all(torch.equal(batch.data[i], sample.data) for i, sample in enumerate(given))


def test_samples_of_different_sizes_stay_themselves():
    given = samples((3, 4), (4, 3), (3, 4))
    batch = collated("image", given)
    assert isinstance(batch.data, tuple)
    assert all(kept is sample.data for kept, sample in zip(batch.data, given, strict=True))


def test_one_of_many_axes_and_many_of_none_are_put_in_one():
    assert in_one([torch.zeros(2, 3)]).shape == (1, 2, 3)  # pyright: ignore[reportAttributeAccessIssue]
    assert in_one([torch.tensor(1.0), torch.tensor(2.0)]).tolist() == [1, 2]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3), (2, 5))])
def test_what_belongs_to_tokens_lies_where_they_lie(shapes):
    data = in_one([torch.randn(shape) for shape in shapes])
    tokens = tokens_of_cells(data, lambda x: x, modality="image")
    rows = [item.mT for item in data]
    assert torch.equal(as_their_tokens(rows, Batch("image", data)), tokens.x)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        collated("image", [])
