"""Instances: fields of one length, or a refusal."""

import numpy as np
import pytest

from unimodal.instances import Instances


def test_there_are_as_many_as_boxes():
    assert len(Instances((4, 5), np.zeros((3, 4)), np.zeros(3, int))) == 3


def test_boxes_have_four_edges():
    with pytest.raises(ValueError, match=r"boxes must be of the shape \(N, 4\), not \(4,\)"):
        Instances((4, 5), np.zeros(4), np.zeros(1, int))


def test_every_object_has_every_field():
    with pytest.raises(ValueError, match="scores must be one for each of 3 boxes, not 2"):
        Instances((4, 5), np.zeros((3, 4)), np.zeros(3, int), np.ones(2))
