"""What the Triton kernels of attention rules refuse, with the reason: called without the check of their operator."""

from dataclasses import replace

import pytest
import torch

from unimodal.kernels.rule import WEIGHTS, Rule
from unimodal.kernels.tile_work import Terms

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def test_too_few_diagonals_for_a_packed_sequence_are_refused():
    from unimodal.kernels.rule_triton import forward

    q, before = torch.randn(1, 2, 9, 16, device=DEVICE), torch.randn(1, 7, device=DEVICE)
    long, short = (torch.tensor(ends, device=DEVICE) for ends in ([0, 5, 9], [0, 4, 8, 9]))
    assert forward(q, q, q, Rule(), Terms(before, cu_seqlens=short))[0].shape == q.shape
    with pytest.raises(ValueError, match="before has 7 diagonals; 5 tokens need 9"):
        forward(q, q, q, Rule(), Terms(before, cu_seqlens=long))


def test_weights_that_the_kernels_do_not_have_are_refused(monkeypatch):
    from unimodal.kernels.rule_triton import forward

    monkeypatch.setitem(WEIGHTS, "squared", replace(WEIGHTS["sigmoid"], mode=None))
    q = torch.randn(1, 2, 3, 16, device=DEVICE)
    with pytest.raises(ValueError, match="the kernels do not have the weights 'squared'"):
        forward(q, q, q, Rule("squared"), Terms())
