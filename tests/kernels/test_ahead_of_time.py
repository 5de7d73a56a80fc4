"""Compiling kernels without a device: what is reported must follow from what the kernel does."""

import os
from pathlib import Path

import pytest

from unimodal.kernels.ahead_of_time import SHARED_BYTES, Variant, compile_ahead

pytest.importorskip("triton")

KERNELS = """
import triton
import triton.language as tl


@triton.jit
def add_one(x, out, count, other, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count) + 1.0
    if other is not None:
        value = tl.exp2(value)
    tl.store(out + at, value, mask=at < count)


@triton.jit
def product(a, b, out, WIDTH: tl.constexpr, SIZE: tl.constexpr):
    row, acc = tl.arange(0, SIZE), tl.zeros((SIZE, SIZE), tl.float32)
    for k in range(0, WIDTH, 64):
        column = k + tl.arange(0, 64)
        x = tl.load(a + row[:, None] * WIDTH + column[None, :])
        y = tl.load(b + column[:, None] * SIZE + row[None, :])
        acc = tl.dot(x, y, acc)
    tl.store(out + row[:, None] * SIZE + row[None, :], acc)
"""
ADD = Variant(
    "kernels_of_this_test:add_one", {"x": "*bf16:16", "out": "*bf16:16", "count": "i32"}, {"other": None, "BLOCK": 1024}
)
FACTORS = {"a": "*bf16:16", "b": "*bf16:16", "out": "*fp32:16"}


def product(size: int, num_stages: int = 2) -> Variant:
    return Variant("kernels_of_this_test:product", FACTORS, {"WIDTH": 512, "SIZE": size}, num_stages=num_stages)


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels_of_this_test.py").write_text(KERNELS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("sm, instruction", [(80, "mma"), (90, "wgmma")])
def test_registers_shared_memory_and_tensor_cores_are_those_of_the_kernel(sm, instruction):
    simple, small, deeper = compile_ahead([ADD, product(64), product(64, 3)], architecture=sm)
    assert (simple.tensor_cores, simple.shared_bytes, simple.spilled_bytes) == (None, 0, 0)
    assert f"sm_{sm}" in simple.ptx
    assert "ex2" not in simple.ptx
    assert small.tensor_cores == deeper.tensor_cores == instruction
    assert small.spilled_bytes == 0
    assert small.registers > simple.registers
    factors = 2 * 64 * 64 * 2  # bytes of the two factors that one step loads
    assert deeper.shared_bytes - small.shared_bytes == factors
    assert small.shared_bytes <= SHARED_BYTES[sm]


@pytest.mark.usefixtures("kernels")
def test_a_thread_that_holds_more_numbers_than_registers_spills_the_rest():
    before = dict(os.environ)
    [found] = compile_ahead([product(256)], architecture=80)
    assert found.registers == 255
    assert found.spilled_bytes > 256 * 256 * 4 // 128 - 255 * 4  # a thread's part of acc, less all its registers
    assert dict(os.environ) == before


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match=r"architecture must be one of \[80, 90\], not 75"):
        compile_ahead([], architecture=75)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    "variant, said",
    [
        (Variant(ADD.kernel, {"x": "*bf16:16", "count": "i32"}, ADD.constants), "named on one side only: out"),
        (Variant(ADD.kernel, ADD.arguments, {"other": None, "BLOCK": 1000}), "power of 2"),
    ],
)
def test_what_the_compiler_refuses_is_told_with_the_variant(variant, said):
    with pytest.raises(RuntimeError, match=r"could not compile for sm_90:\n.*add_one(.|\n)*" + said):
        compile_ahead([variant], architecture=90)
