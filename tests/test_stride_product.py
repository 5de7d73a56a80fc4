import pytest

from unimodal.stride_product import stride_product


@pytest.mark.parametrize(
    "first, second, made",
    [
        (4, 2, 8),
        ((1, 2, 2), 2, (2, 4, 4)),
        (4, (1, 2), (4, 8)),
        ((2, 3), (4, 5), (8, 15)),
        (16, 0.25, 4),
        (2, 0.25, 0.5),
    ],
)
def test_one_number_stands_for_every_axis(first, second, made):
    assert stride_product(first, second) == made
    assert type(stride_product(first, second)) is type(made)
