"""The operators of attention under a rule as torch sees them: contract, compilation, export, gradients, memory."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention

NAMES = ("q", "k", "v", "before", "after", "bias")


def inputs(queries: int, keys: int) -> dict[str, Tensor]:
    diagonals = (2, 2 * max(queries, keys) - 1)
    shapes = ((1, 2, queries, 8), (1, 1, keys, 8), (1, 1, keys, 5), diagonals, diagonals, (1, 2, queries, keys))
    return {n: torch.randn(s, dtype=torch.float64) for n, s in zip(NAMES, shapes, strict=True)}


def test_a_gradient_of_a_gradient_is_refused_by_the_tiles_and_given_by_the_reference():
    leaf = torch.randn(1, 1, 5, 8, dtype=torch.float64, requires_grad=True)
    for implementation in ("require", "reference"):
        o = rule_attention(leaf, leaf, leaf, Rule("sigmoid"), implementation=implementation)
        (first,) = torch.autograd.grad(o.sum(), leaf, create_graph=True)
        if implementation == "require":
            with pytest.raises(RuntimeError, match="no autograd formula was registered"):
                first.sum().backward()
        else:
            first.sum().backward()
            assert leaf.grad is not None


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_the_operator_obeys_the_rules_of_torch_operators():
    tensors = (*(t.requires_grad_() for t in inputs(5, 7).values()), None, None, None)
    torch.library.opcheck(torch.ops.unimodal.rule_attention.default, (*tensors, "softmax", 0.0, False, None, None))
    torch.library.opcheck(torch.ops.unimodal.rule_attention.default, (*tensors, "sigmoid", None, True, 3, 0.5))


def test_a_compiled_function_gives_the_same_with_gradients():
    leaves: dict[str, Any] = {n: t.requires_grad_() for n, t in inputs(20, 20).items()}
    plain = partial(rule_attention, rule=Rule("sigmoid", None, causal=True))
    compiled = torch.compile(plain, backend="aot_eager", fullgraph=True)
    found = []
    for run in (plain, compiled):
        out = run(**leaves)
        found.append([out, *torch.autograd.grad(out.square().sum(), list(leaves.values()))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_an_exported_program_holds_the_operator_and_takes_other_lengths():
    class Packed(torch.nn.Module):
        def forward(self, q, k, v, cu):
            return rule_attention(q, k, v, Rule("sigmoid", None, causal=True), cu_seqlens=cu)

    def arguments(*sizes):
        cu = torch.tensor([0, *sizes]).cumsum(0).to(torch.int32)
        return (*(torch.randn(1, 2, sum(sizes), 8) for _ in range(3)), cu)

    tokens, sequences = torch.export.Dim("tokens"), torch.export.Dim("sequences")
    shapes = (*({2: tokens},) * 3, {0: sequences})
    program = torch.export.export(Packed(), arguments(3, 4), dynamic_shapes=shapes)
    assert "unimodal.rule_attention" in str(program.graph)
    other = arguments(5, 1, 6)
    torch.testing.assert_close(program.module()(*other), Packed()(*other))


PROGRAM = """
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
def run(n, implementation):
    q, k, v = (torch.randn(1, 1, n, 16, requires_grad=True) for _ in range(3))
    before, after = (torch.randn(1, 2 * n - 1, requires_grad=True) for _ in range(2))
    options = {"before": before, "after": after, "implementation": implementation}
    rule_attention(q, k, v, **options)
    rule_attention(q, k, v, Rule("sigmoid", None), **options).sum().backward()
"""


def test_memory_grows_linearly_with_the_sequence(peak_growth):
    kilobytes = peak_growth(PROGRAM, "256, 'require'", "16384, 'require'")
    assert kilobytes < 40_000, f"{kilobytes} kB; one 16384 x 16384 matrix of scores takes 1048576 kB"


def test_memory_of_the_reference_does_not_so_that_the_measure_can_fail(peak_growth):
    assert peak_growth(PROGRAM, "256, 'reference'", "2048, 'reference'") > 2 * 2048**2 * 4 / 1024
