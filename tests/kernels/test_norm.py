"""The norms' fast paths against their equations in float64, every gradient, and which path is taken."""

import pytest
import torch
from torch import Tensor

from unimodal.kernels.norm import add_norm, choose, norm, reference

TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3}  # of the docstring
KINDS = ("layer", "rms", "crms", "affine")


def equation(x: Tensor, kind: str, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The four equations, a token and a channel at a time."""
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        values, width = list(row), len(row)
        total = sum(values)
        mean = total / width if kind == "layer" else 0.0
        square = sum((value - mean) ** 2 for value in values)
        divisor = {
            "layer": (square / width + eps) ** 0.5,
            "rms": (square / width + eps) ** 0.5,
            "crms": ((square + total**2) / (width + 1) + eps) ** 0.5,
            "affine": 1.0,
        }[kind]
        y = (row - mean) / divisor
        y = y if weight is None else y * weight
        rows.append(y if bias is None else y + bias)
    return torch.stack(rows).reshape(x.shape)


def arguments(width: int, kind: str, terms: str, dtype: torch.dtype) -> dict[str, Tensor | None]:
    drawn: dict[str, Tensor | None] = {"x": torch.randn(1, 3, width) + 0.3, "weight": None, "bias": None}
    if "w" in terms or kind == "affine":
        drawn["weight"] = torch.randn(width)
    if "b" in terms:
        drawn["bias"] = torch.randn(width)
    return {name: t if t is None else t.to(dtype).requires_grad_() for name, t in drawn.items()}


def gradients(y: Tensor, leaves: list[Tensor], probe: Tensor) -> list[Tensor]:
    return [y, *torch.autograd.grad(y, leaves, probe.to(y.dtype))]


def close(got: Tensor, want: Tensor, tolerance: float) -> None:
    largest = max(want.abs().max().item(), 1e-3)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("width", [1, 63, 100, 257])
@pytest.mark.parametrize("terms", ["", "w", "b", "wb"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_the_equations(kind, terms, width):
    given = arguments(width, kind, terms, torch.float64)
    leaves = [t for t in given.values() if t is not None]
    x, weight, bias = given["x"], given["weight"], given["bias"]
    assert x is not None
    probe = torch.randn(1, 3, width, dtype=torch.float64)
    want = gradients(equation(x, kind, weight, bias, 0.1), leaves, probe)
    for wish in ("require", "reference"):
        got = norm(x, kind, weight=weight, bias=bias, eps=0.1, implementation=wish)
        for a, b in zip(gradients(got, leaves, probe), want, strict=True):
            close(a, b, TOLERANCE[torch.float64])
        with torch.no_grad():
            close(norm(x, kind, weight=weight, bias=bias, eps=0.1, implementation=wish), want[0], 1e-12)


@pytest.mark.parametrize("width", [63, 768])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_in_lower_precision_they_stay_within_the_docstrings_tolerance(kind, dtype, width):
    given = arguments(width, kind, "wb", dtype)
    leaves = [t for t in given.values() if t is not None]
    exact = [t.detach().double().requires_grad_() for t in leaves]
    probe = torch.randn(1, 3, width).to(dtype)
    want = gradients(reference(exact[0], kind, weight=exact[1], bias=exact[2]), exact, probe.double())
    got = gradients(norm(leaves[0], kind, weight=leaves[1], bias=leaves[2]), leaves, probe)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype
        close(a, b, TOLERANCE[dtype])


@pytest.mark.parametrize("kind", KINDS)
def test_a_residual_is_added_in_front_and_the_sum_comes_back(kind):
    x, residual, weight = torch.randn(2, 5, 9), torch.randn(2, 5, 9), torch.randn(9)
    leaves = [t.double().requires_grad_() for t in (x, residual, weight)]
    probes = [torch.randn(2, 5, 9, dtype=torch.float64) for _ in range(2)]
    y, total = add_norm(leaves[0], leaves[1], kind, weight=leaves[2])
    assert torch.equal(total, leaves[0] + leaves[1])
    want = equation(leaves[0] + leaves[1], kind, leaves[2], None, 1e-6)
    close(y, want, 1e-12)
    got = torch.autograd.grad((y * probes[0] + total * probes[1]).sum(), leaves)
    judge = torch.autograd.grad((want * probes[0] + (leaves[0] + leaves[1]) * probes[1]).sum(), leaves)
    for a, b in zip(got, judge, strict=True):
        close(a, b, 1e-10)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the check reads it itself
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("kind", ["rms", "crms"])
def test_the_operator_keeps_the_rules_of_torch_library(kind, added):
    x = torch.randn(2, 3, 8, requires_grad=True)
    residual = torch.randn(2, 3, 8, requires_grad=True) if added else None
    weight, bias = torch.randn(8, requires_grad=True), torch.randn(8, requires_grad=True)
    torch.library.opcheck(torch.ops.unimodal.norm.default, (x, residual, weight, bias, kind, 1e-6))


def test_one_token_does_not_depend_on_the_others_or_on_their_number():
    x = torch.randn(7, 257)
    for kind in KINDS:
        weight = torch.randn(257)
        whole = norm(x, kind, weight=weight)
        assert torch.equal(whole[3:4], norm(x[3:4].clone(), kind, weight=weight))


@pytest.mark.parametrize("kind", ["rms", "crms"])
def test_no_tokens_give_none_and_gradients_of_zero(kind):
    x, weight = torch.randn(2, 0, 8, requires_grad=True), torch.randn(8, requires_grad=True)
    y = norm(x, kind, weight=weight)
    y.sum().backward()
    assert y.shape == (2, 0, 8)
    assert weight.grad is not None
    assert not weight.grad.any()


def test_which_path_is_taken_and_why():
    x = torch.randn(2, 8)
    assert choose(x, "layer").implementation == "torch layer_norm"
    assert choose(x, "affine").implementation == "torch addcmul"
    assert choose(x).implementation == choose(x, "crms").implementation == "passes in torch"
    assert choose(x, implementation="reference").reason == "asked for"
    assert choose(x.long(), "layer").reason == "torch.int64 is not a floating-point dtype"
    with pytest.raises(RuntimeError, match="passes in torch cannot run: torch.int64"):
        norm(x.long(), "rms", implementation="require")


def test_an_exported_norm_needs_no_operator_of_ours():
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(8))

        def forward(self, x: Tensor) -> Tensor:
            return norm(x, "rms", weight=self.weight)

    module, x = Module(), torch.randn(2, 8)
    program = torch.export.export(module, (x,))
    assert not any("unimodal" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x), module(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("batch", {}, "kind must be one of layer, rms, crms, affine, not 'batch'"),
        ("rms", {"weight": torch.ones(7)}, r"weight must have the shape \(8,\)"),
        ("layer", {"bias": torch.ones(1, 8)}, r"bias must have the shape \(8,\)"),
        ("affine", {}, "weight is None"),
    ],
)
def test_what_does_not_fit_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        norm(torch.randn(2, 8), kind, **options)


@pytest.mark.parametrize("residual", [torch.randn(8), torch.randn(2, 8).double()])
def test_a_residual_of_another_shape_or_dtype_is_refused(residual):
    with pytest.raises(ValueError, match="residual must be as x"):
        add_norm(torch.randn(2, 8), residual, "rms")
