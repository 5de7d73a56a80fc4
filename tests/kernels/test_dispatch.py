"""Which implementation is chosen, and the reason that is given."""

import pytest

from unimodal.kernels.dispatch import decide


def test_auto_takes_the_fast_path_where_it_fits_and_says_why_where_it_does_not():
    assert decide("auto", "fused", None).implementation == "fused"
    choice = decide("auto", "fused", "the head width is odd")
    assert (choice.implementation, choice.reason) == ("reference", "the head width is odd")


def test_reference_is_taken_when_asked_for_even_if_the_fast_path_fits():
    choice = decide("reference", "fused", None)
    assert (choice.implementation, choice.reason) == ("reference", "asked for")


def test_require_gives_the_fast_path():
    assert decide("require", "fused", None).implementation == "fused"


def test_require_raises_with_the_reason_of_the_refusal():
    with pytest.raises(RuntimeError, match="fused cannot run: the head width is odd"):
        decide("require", "fused", "the head width is odd")


def test_an_unknown_wish_raises():
    with pytest.raises(ValueError, match="must be 'auto', 'reference' or 'require', not 'fast'"):
        decide("fast", "fused", None)  # pyright: ignore[reportArgumentType]
