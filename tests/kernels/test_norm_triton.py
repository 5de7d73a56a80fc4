"""The Triton norms in the interpreter against float64, and compiled ahead of time for processors that are not there."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from unimodal.kernels import norm_triton
from unimodal.kernels.ahead_of_time import SHARED_BYTES, Variant, compile_ahead
from unimodal.kernels.norm import WIDEST, add_norm, norm, reference

KINDS = ("layer", "rms", "crms", "affine")
EPS = 0.5  # so large that the gradient of a narrow row is not all cancellation
TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 1e-2}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def close(got: Tensor, want: Tensor, tolerance: float) -> None:
    largest = max(want.abs().max().item(), 1e-3)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance * largest)


def judged(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, kind: str, probes: list[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """Output, sum and the gradients of x, weight and bias in float64."""
    total = (x.double() if residual is None else x.double() + residual.double()).requires_grad_()
    terms = [None if t is None else t.double().requires_grad_() for t in (weight, bias)]
    y = reference(total, kind, weight=terms[0], bias=terms[1], eps=EPS)
    value = (y * probes[0].double()).sum()
    if residual is not None:
        value = value + (total * probes[1].double()).sum()
    found = iter(torch.autograd.grad(value, [total, *(t for t in terms if t is not None)]))
    gradients: list[Tensor | None] = [None if t is None else next(found) for t in (total, *terms)]
    return y.detach(), total.detach(), gradients


@pytest.mark.parametrize("width", [1, 63, 100, 257, 768])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("added", "terms"), [(False, ""), (True, "wb")])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_in_float64(kind, added, terms, dtype, width):
    shape = (2, 3, width)
    x, other, *probes = (torch.randn(shape, device=DEVICE).to(dtype) for _ in range(4))
    residual = other if added else None
    drawn = {name: torch.randn(width, device=DEVICE).to(dtype) for name in terms}
    weight, bias = drawn.get("w"), drawn.get("b")
    y, total, scale = norm_triton.forward(x, residual, weight, bias, kind, EPS)
    of_total = probes[1] if added else None
    got = norm_triton.backward(probes[0], of_total, total if added else x, weight, scale, kind)
    want_y, want_total, gradients = judged(x, residual, weight, bias, kind, probes)
    close(y, want_y, TOLERANCE[dtype])
    if added:
        close(total, want_total, TOLERANCE[dtype])
    for a, b in zip(got, gradients, strict=True):
        if b is not None:
            close(a, b, TOLERANCE[dtype])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 2000])
def test_any_number_of_rows_is_taken(count):
    x, grad, weight = torch.randn(count, 200), torch.randn(count, 200), torch.randn(200)
    x, grad, weight = x.to(DEVICE), grad.to(DEVICE), weight.to(DEVICE)
    y, _, scale = norm_triton.forward(x, None, weight, None, "rms", EPS)
    got = norm_triton.backward(grad, None, x, weight, scale, "rms")
    want_y, _, gradients = judged(x, None, weight, None, "rms", [grad])
    assert y.shape == x.shape
    for a, b in zip((y, *got), (want_y, *gradients), strict=False):
        if b is not None and b.numel():
            close(a, b, 5e-6)


def test_a_row_does_not_depend_on_the_others():
    x = torch.randn(9, 100, device=DEVICE)
    changed = x.clone()
    changed[:4] = 1e3
    for kind in ("layer", "rms", "crms"):
        before, after = (norm_triton.forward(t, None, None, None, kind, 1e-6)[0] for t in (x, changed))
        assert torch.equal(before[4:], after[4:])


def test_a_view_that_is_not_contiguous_is_taken():
    x = torch.randn(5, 2, 12, device=DEVICE)[:, 1]
    y, _, _ = norm_triton.forward(x, None, None, None, "rms", 1e-6)
    close(y, reference(x.double(), "rms"), 5e-6)


def test_the_widest_row_has_a_tiling():
    assert norm_triton.tiling(WIDEST)[1] == WIDEST
    with pytest.raises(KeyError):
        norm_triton.tiling(WIDEST + 1)


def variants(width: int) -> list[Variant]:
    rows, block, warps = norm_triton.tiling(width)
    made = []
    for kind in KINDS:
        for dtype, added in (("bf16", True), ("fp32", False)):
            given, constants = f"*{dtype}:16", {"KIND": kind, "ROWS": rows, "BLOCK": block}
            there = dict.fromkeys(("x", "weight", "bias", "y"), given) | {"scale": "*fp32:16"}
            sizes = {"rows": "i32", "width": "i32"}
            absent: dict[str, None] = {}
            if added:
                there |= {"residual": given, "total": given}
            else:
                absent = {"residual": None, "total": None}
            module = "unimodal.kernels.norm_triton"
            made.append(
                Variant(f"{module}:_forward", there | sizes | {"eps": "fp32"}, {**constants, **absent}, num_warps=warps)
            )
            there = dict.fromkeys(("grad", "total", "weight", "of_x"), given)
            there |= dict.fromkeys(("scale", "of_weight", "of_bias"), "*fp32:16")
            absent = {} if added else {"grad_total": None}
            there |= {"grad_total": given} if added else {}
            made.append(Variant(f"{module}:_backward", there | sizes, {**constants, **absent}, num_warps=warps))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("width", [192, 768, 8192])
@pytest.mark.parametrize("architecture", [80, 90])
def test_every_variant_compiles_without_spilling(architecture, width):
    asked = variants(width)
    for variant, found in zip(asked, compile_ahead(asked, architecture=architecture), strict=True):
        assert found.spilled_bytes == 0, f"{variant} spills {found.spilled_bytes} bytes"
        assert found.shared_bytes <= SHARED_BYTES[architecture]
        assert found.registers * 32 * variant.num_warps <= 65536


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_the_operator_on_a_device_is_the_reference(kind):
    x, residual = (torch.randn(4, 300, 768, device="cuda") for _ in range(2))
    weight = torch.randn(768, device="cuda")
    y, total = add_norm(x, residual, kind, weight=weight, implementation="require")
    close(y, reference(total.double(), kind, weight=weight.double()), 5e-6)
    close(norm(x, kind, weight=weight), reference(x.double(), kind, weight=weight.double()), 5e-6)
