"""What the errors say, and that they survive the way from another process (which copies them)."""

import copy

import pytest

from unimodal.errors import CheckpointError, InputError, MissingExtraError, UnknownNameError

ERRORS = [
    (InputError("a.png", "it is empty", "give a picture"), "a.png: it is empty; give a picture"),
    (InputError("a.png", "it is empty"), "a.png: it is empty"),
    (CheckpointError("model", "a key is missing", "convert it"), "model: a key is missing; convert it"),
    (
        MissingExtraError("timm", "converters"),
        "timm is not installed; it comes with: pip install 'unimodal[converters]'",
    ),
    (UnknownNameError("norm", "lair", ["layer", "rms"]), "no norm named 'lair'; did you mean 'layer'?"),
    (UnknownNameError("norm", "zzz", ["rms", "layer"]), "no norm named 'zzz'; known: layer, rms"),
    (UnknownNameError("norm", "zzz", []), "no norm named 'zzz'; known: none"),
]


@pytest.mark.parametrize("error, message", ERRORS)
def test_the_message_names_the_thing_and_what_would_be_right(error, message):
    assert str(error) == message


@pytest.mark.parametrize("error, message", ERRORS)
def test_an_error_copies_with_its_fields_and_message(error, message):
    twin = copy.copy(error)
    assert (type(twin), str(twin), vars(twin)) == (type(error), message, vars(error))


def test_each_error_is_also_a_kind_that_python_knows():
    kinds = [(InputError, ValueError), (MissingExtraError, ImportError), (UnknownNameError, LookupError)]
    assert all(issubclass(ours, theirs) for ours, theirs in kinds)


def test_the_nearest_names_are_kept_for_programs():
    assert UnknownNameError("mixer", "windwed", ["windowed", "full"]).nearest == ["windowed"]
