"""A class token's readout beside that of the lattice: which is used when, the expected loss, refusals."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.part import Part
from unimodal.readouts.class_beside import ClassBeside
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.side import Side
from unimodal.tokens import Tokens

HEADS = {"readout": Part(Head, pool=Part(Mean), width=3), "beside": Part(Head, pool=Part(ClassToken), width=3)}


def test_in_use_the_class_token_has_no_influence():
    readout, x = ClassBeside(4, **HEADS).eval(), torch.randn(2, 6, 4)
    other = x.clone()
    other[:, 0] += 1.0
    z = readout(Tokens(x, Side(prefix=1)))
    assert torch.equal(z, readout(Tokens(other, Side(prefix=1))))
    assert torch.equal(z, readout.readout(Tokens(x[:, 1:])))


def test_while_training_each_sequence_has_one_of_the_two_and_the_expected_loss_is_half_of_either():
    readout: Any = ClassBeside(4, **HEADS)
    x, label = torch.randn(1, 6, 4).expand(4000, -1, -1), torch.ones(4000, dtype=torch.long)
    tokens = Tokens(x, Side(prefix=1))
    with torch.no_grad():
        z, lattice, beside = readout(tokens), readout.readout(tokens.lattice()), readout.beside(tokens)
    first, second = ((z == one).all(1) for one in (lattice, beside))
    assert (first ^ second).all()
    losses = [F.cross_entropy(one, label) for one in (lattice, beside)]
    assert float(first.double().mean()) == pytest.approx(0.5, abs=0.04)  # five standard deviations
    spread = float((losses[0] - losses[1]).abs())
    assert float(F.cross_entropy(z, label)) == pytest.approx(float(sum(losses)) / 2, abs=0.04 * spread + 1e-5)


def test_packed_sequences_give_what_they_give_alone():
    readout, rows = ClassBeside(4, **HEADS).eval(), [torch.randn(1, n, 4) for n in (3, 6)]
    packed = Tokens(torch.cat(rows, 1), Side(prefix=1, cu_seqlens=torch.tensor([0, 3, 9], dtype=torch.int32)))
    torch.testing.assert_close(readout(packed), torch.cat([readout(Tokens(row, Side(prefix=1))) for row in rows]))


def test_tokens_without_a_class_token_are_refused():
    with pytest.raises(ValueError, match="no prefix, so there is no class token beside the lattice"):
        ClassBeside(4, **HEADS).eval()(Tokens(torch.randn(1, 4, 4)))
