"""An input that is longer than the model takes in: the record says in words which part became tokens."""

from typing import Any

import numpy as np
import pytest

from unimodal.catalog import catalog

LONG: dict[str, tuple[Any, str]] = {
    "table": ([{"a": i, "b": i * i % 7} for i in range(700)], "256 of 700 rows were taken"),
    "text": ("word " * 4000, "of 20000 characters were taken"),
    "point_cloud": (np.random.default_rng(0).random((9000, 3)), "of 9000 points were taken"),
    "time_series": ({"load": np.sin(np.arange(30_000) / 9)}, "of 30000 were taken"),
    "graph": ({"edges": [(i, i + 1) for i in range(2000)]}, "of 2001 nodes"),
    "hyperspectral": (np.random.default_rng(0).random((200, 200, 8)), "of 200 rows"),
}


@pytest.mark.parametrize("modality", LONG)
def test_the_record_of_a_long_input_says_what_was_taken(modality: str):
    source, words = LONG[modality]
    notes = catalog("tokenizers")[modality](32).read(source).record.notes
    assert any(words in note for note in notes), notes


@pytest.mark.parametrize("modality", LONG)
def test_the_record_of_an_input_that_fits_says_nothing(modality: str):
    tokenizer = catalog("tokenizers")[modality](32)
    assert all(" of " not in note for e in tokenizer.examples() for note in tokenizer.read(e).record.notes)
