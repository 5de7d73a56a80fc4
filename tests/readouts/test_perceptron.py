"""The readout ``perceptron``."""

from typing import Any

import pytest
import torch

from unimodal.part import Part
from unimodal.readouts.class_and_max import ClassAndMax
from unimodal.readouts.mean import Mean
from unimodal.readouts.perceptron import Perceptron
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_equals_its_equations_with_running_statistics():
    head: Any = Perceptron(4, pool=Part(ClassAndMax), hidden=(5, 6), width=3).double().eval()
    for norm in head.norms:
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
        torch.nn.init.normal_(norm.weight)
    tokens = Tokens(torch.randn(2, 7, 4).double(), Side(prefix=1))
    z = head(tokens)
    for s in range(2):
        h = ClassAndMax(4)(tokens)[s]
        for layer, norm in zip(head.maps, head.norms, strict=True):
            a = layer.weight @ h + layer.bias
            a = (a - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
            h = a.clamp(min=0)
        torch.testing.assert_close(z[s], head.project.weight @ h + head.project.bias)


def test_values_are_dropped_while_training_alone():
    head, tokens = Perceptron(4, pool=Part(Mean), hidden=(400,), dropout=0.75), Tokens(torch.randn(8, 7, 4))
    zeros = [float((h == 0).float().mean()) for h in (head.train()(tokens), head.eval()(tokens))]
    assert zeros[0] > 0.8
    assert zeros[1] < 0.7


@pytest.mark.parametrize(
    "settings, cause", [({"hidden": ()}, "at least one width"), ({"dropout": 1.0}, "below 1, not 1")]
)
def test_a_wrong_setting_is_named(settings, cause):
    with pytest.raises(ValueError, match=cause):
        Perceptron(4, pool=Part(Mean), **settings)
