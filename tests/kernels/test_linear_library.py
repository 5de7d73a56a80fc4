"""The operator of linear attention: what torch asks of operators, its memory, and what it refuses."""

from functools import partial

import pytest
import torch
from torch import Tensor

from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_rule import LinearRule


def inputs(tokens: int) -> list[Tensor]:
    """q, k, v and decays of two query heads that share a key head."""
    sizes = ((1, 2, tokens, 8), (1, 1, tokens, 8), (1, 1, tokens, 5))
    drawn = [torch.randn(size, dtype=torch.float64) for size in sizes]
    return [t.requires_grad_() for t in (*drawn, torch.tensor([-1.0, -0.1], dtype=torch.float64))]


def test_a_gradient_of_a_gradient_is_refused_by_the_tiles_and_given_by_the_reference():
    leaf = torch.randn(1, 1, 5, 8, dtype=torch.float64, requires_grad=True)
    for implementation in ("require", "reference"):
        o = linear_attention(leaf, leaf, leaf, LinearRule("elu"), implementation=implementation)
        (first,) = torch.autograd.grad(o.sum(), leaf, create_graph=True)
        if implementation == "require":
            with pytest.raises(RuntimeError, match="no autograd formula was registered"):
                first.sum().backward()
        else:
            first.sum().backward()
            assert leaf.grad is not None


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_the_operator_obeys_the_rules_of_torch_operators():
    q, k, v, decay = inputs(70)
    operator, state = torch.ops.unimodal.linear_attention.default, torch.randn(1, 2, 8, 6, dtype=torch.float64)
    torch.library.opcheck(operator, (q, k, v, None, None, None, None, "elu", False, False, 0.0, False))
    seen = torch.rand(1, 1, 70, 1) < 0.5
    torch.library.opcheck(operator, (q, k, v, decay, state, seen, None, "elu_plus_one", True, True, 0.1, True))


def test_a_compiled_function_gives_the_same_with_gradients():
    leaves, run = inputs(70), partial(linear_attention, rule=LinearRule("elu", causal=True))
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    q, k, v, decay = leaves
    one, other = (way(q, k, v, decay=decay) for way in (run, compiled))
    torch.testing.assert_close(other, one, rtol=0, atol=1e-12)
    probe = torch.randn_like(one)
    for a, b in zip(*(torch.autograd.grad(o, leaves, probe) for o in (one, other)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(a.abs().max()))


def test_an_exported_program_holds_the_operator_and_takes_other_lengths():
    class Packed(torch.nn.Module):
        def forward(self, q, k, v, cu):
            return linear_attention(q, k, v, LinearRule("relu", causal=True, normalised=True), cu_seqlens=cu)

    def arguments(*sizes):
        cu = torch.tensor([0, *sizes]).cumsum(0).to(torch.int32)
        return (*(torch.randn(1, 2, sum(sizes), 8) for _ in range(3)), cu)

    tokens, sequences = torch.export.Dim("tokens"), torch.export.Dim("sequences")
    shapes = (*({2: tokens},) * 3, {0: sequences})
    program = torch.export.export(Packed(), arguments(3, 4), dynamic_shapes=shapes)
    assert "unimodal.linear_attention" in str(program.graph)
    other = arguments(5, 1, 6)
    torch.testing.assert_close(program.module()(*other), Packed()(*other))


def test_memory_grows_linearly_with_the_sequence(peak_growth):
    program = """
from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_rule import LinearRule
def run(n):
    q, k, v = (torch.randn(1, 1, n, 16, requires_grad=True) for _ in range(3))
    decay = torch.tensor([-0.01], requires_grad=True)
    rule = LinearRule("elu_plus_one", causal=True, normalised=True)
    linear_attention(q, k, v, LinearRule("elu"), implementation="require").sum().backward()
    linear_attention(q, k, v, rule, decay=decay, implementation="require").sum().backward()
"""
    kilobytes = peak_growth(program, "256", "8192")
    assert 0 < kilobytes < 40_000, f"{kilobytes} kB; one 8192 x 8192 matrix of weights takes 262144 kB"
