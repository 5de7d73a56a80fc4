"""Packing against loops over tokens, torch's pad_sequence, and the Triton kernels in the interpreter."""

import importlib
import os

import pytest
import torch
from torch import Tensor

from unimodal.kernels.packing import choose, pack, reference, reference_unpack, unpack

RAGGED = [0, 1, 15, 16, 17, 63, 100, 257]
CASES = [RAGGED, [0, 0], [3], [0], [1, 1, 1], [5, 2, 9, 4] * 8]
# Long tokens are copied row by row, short ones gathered by index: both sides of the choice.
WIDTHS = [(), (1,), (3, 2), (2048,)]


def rows_of(lengths: list[int], width: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Random rows whose padding is NaN (for floats)."""
    x = torch.randn(len(lengths), max(lengths) + 2, *width)
    for b, n in enumerate(lengths):
        x[b, n:] = float("nan") if dtype.is_floating_point else 7.0
    return x.to(dtype)


def end_to_end(x: Tensor, lengths: list[int]) -> Tensor:
    tokens = [x[b, i] for b, n in enumerate(lengths) for i in range(n)]
    return torch.stack(tokens)[None] if tokens else x.new_zeros(1, 0, *x.shape[2:])


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize("lengths", CASES, ids=str)
def test_packing_lays_the_real_tokens_end_to_end_and_unpacking_brings_them_back(lengths, width):
    x, sizes = rows_of(lengths, width), torch.tensor(lengths)
    packed = pack(x, sizes)
    assert torch.equal(packed, end_to_end(x, lengths))
    assert torch.equal(packed, reference(x, sizes))
    back = unpack(packed, sizes, tokens=x.shape[1])
    assert torch.equal(back, reference_unpack(packed, sizes, tokens=x.shape[1]))
    assert torch.equal(back, x.nan_to_num(0.0))
    assert torch.equal(unpack(packed, sizes), back[:, : max(lengths)])
    assert torch.equal(pack(x, sizes, total=sum(lengths)), packed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int64, torch.bool], ids=str)
def test_every_dtype_is_copied_as_it_is(dtype):
    lengths = [4, 0, 7]
    x, sizes = rows_of(lengths, (5,), dtype), torch.tensor(lengths)
    packed = pack(x, sizes)
    assert packed.dtype == dtype
    assert torch.equal(packed, end_to_end(x, lengths))
    assert torch.equal(unpack(packed, sizes, tokens=9), reference_unpack(packed, sizes, tokens=9))


def test_rows_that_are_not_contiguous_give_the_same():
    x, sizes = torch.randn(7, 5, 3).transpose(0, 1), torch.tensor([2, 7, 0, 1, 5])
    assert torch.equal(pack(x, sizes), pack(x.contiguous(), sizes))
    packed = torch.randn(1, 3, 15).mT
    assert torch.equal(unpack(packed, sizes), unpack(packed.contiguous(), sizes))


def test_rows_without_padding_are_packed_and_unpacked_as_views():
    x, sizes = torch.randn(3, 5, 2), torch.tensor([5, 5, 5])
    packed = pack(x, sizes)
    assert packed.data_ptr() == x.data_ptr()
    assert unpack(packed, sizes).data_ptr() == x.data_ptr()
    assert torch.equal(unpack(packed, sizes), x)
    assert unpack(packed, sizes, tokens=6).shape == (3, 6, 2)


def test_no_rows_at_all_pack_to_no_tokens_and_back():
    sizes = torch.tensor([], dtype=torch.long)
    assert pack(torch.randn(0, 4, 2), sizes).shape == (1, 0, 2)
    assert unpack(torch.randn(1, 0, 2), sizes, tokens=4).shape == (0, 4, 2)


@pytest.mark.parametrize("width", [3, 2048])
def test_the_gradient_of_each_is_the_other_also_twice(width):
    sizes = torch.tensor([2, 0, 5])
    x = rows_of(sizes.tolist(), (width,)).double().requires_grad_()
    probe = torch.randn(1, 7, width, dtype=torch.float64)
    (grad,) = torch.autograd.grad((pack(x, sizes) * probe).sum(), x)
    assert torch.equal(grad, reference_unpack(probe, sizes, tokens=7))
    packed = torch.randn(1, 7, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 6, width, dtype=torch.float64)
    (grad,) = torch.autograd.grad((unpack(packed, sizes, tokens=6) * weight).sum(), packed)
    assert torch.equal(grad, reference(weight, sizes))
    if width == 3:
        real = torch.randn(3, 6, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(lambda t: pack(t, sizes).square(), (real,))
        assert torch.autograd.gradgradcheck(lambda t: unpack(t, sizes, tokens=6).square(), (packed,))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of opcheck's own copies
@pytest.mark.parametrize("total", [None, 7])
def test_the_operators_keep_to_the_contract_of_torch_library(total):
    sizes = torch.tensor([2, 0, 5])
    x, packed = torch.randn(3, 6, 4, requires_grad=True), torch.randn(1, 7, 4, requires_grad=True)
    torch.library.opcheck(torch.ops.unimodal.pack.default, (x, sizes, total))
    torch.library.opcheck(torch.ops.unimodal.unpack.default, (packed, sizes, 6))


class There(torch.nn.Module):
    """Pack, do something to each token, unpack."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return unpack(pack(x, lengths).sin(), lengths, tokens=x.shape[1])


def test_export_goes_through_with_other_lengths_later():
    program = torch.export.export(There(), (torch.randn(3, 6, 4), torch.tensor([2, 0, 5]))).module()
    x, sizes = torch.randn(3, 6, 4), torch.tensor([6, 6, 1])
    assert torch.equal(program(x, sizes), There()(x, sizes))


@pytest.mark.slow
def test_compile_makes_one_graph_with_gradients():
    compiled = torch.compile(There(), fullgraph=True, backend="aot_eager")
    for lengths in ([2, 0, 5], [6, 6, 6]):
        x, sizes = torch.randn(3, 6, 4, requires_grad=True), torch.tensor(lengths)
        (want,) = torch.autograd.grad(There()(x, sizes).sum(), x)
        (got,) = torch.autograd.grad(compiled(x, sizes).sum(), x)
        torch.testing.assert_close(got, want)


def test_what_is_chosen_here_is_said_and_the_reference_can_be_asked_for():
    x = torch.randn(2, 3, 1)
    assert choose(x).implementation == "slices or one gather in torch"
    assert choose(x, implementation="reference").reason == "asked for"
    assert "no fast path was written for meta" in choose(x.to("meta")).reason
    sizes = torch.tensor([1, 2])
    packed = pack(x, sizes, implementation="reference")
    assert torch.equal(packed, pack(x, sizes))
    assert torch.equal(unpack(packed, sizes, implementation="reference"), unpack(packed, sizes))


def test_a_fast_path_that_is_demanded_and_absent_is_an_error():
    x = torch.zeros(2, 3, 1, device="meta")
    with pytest.raises(RuntimeError, match="no fast path was written for meta"):
        pack(x, torch.zeros(2, dtype=torch.long, device="meta"), total=4, implementation="require")


@pytest.mark.parametrize("lengths", [[1], [[1, 2]]], ids=str)
def test_one_length_a_row_is_demanded(lengths):
    with pytest.raises(ValueError, match=r"x has the axes \(B, N, ...\) and lengths \(B,\)"):
        pack(torch.zeros(2, 3, 1), torch.tensor(lengths))


@pytest.mark.parametrize("lengths", [[1, 4], [-1, 2]], ids=str)
def test_lengths_outside_of_the_row_are_refused(lengths):
    with pytest.raises(ValueError, match=r"lengths must lie in 0..3"):
        pack(torch.zeros(2, 3, 1), torch.tensor(lengths))


@pytest.mark.parametrize("lengths, tokens", [([1, 3], None), ([3, 2], 2), ([-1, 6], None)], ids=str)
def test_lengths_that_do_not_fit_the_packed_row_are_refused(lengths, tokens):
    with pytest.raises(ValueError, match=r"lengths must lie in 0\.\.\d and sum to 5 tokens"):
        unpack(torch.zeros(1, 5, 1), torch.tensor(lengths), tokens=tokens)


def test_a_packed_batch_of_two_rows_is_refused():
    with pytest.raises(ValueError, match="a packed batch has one row, not 2"):
        unpack(torch.zeros(2, 5, 1), torch.tensor([5]))


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available(), reason="no interpreter and no GPU"
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool], ids=str)
@pytest.mark.parametrize("lengths, width", [(RAGGED, (3,)), ([0, 0], (4,)), ([5, 1], (2, 150)), ([2, 3], ())], ids=str)
def test_the_triton_kernels_copy_the_same_values(lengths, width, dtype):
    kernels = importlib.import_module("unimodal.kernels.packing_triton")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, sizes = rows_of(lengths, width, dtype).to(device), torch.tensor(lengths, device=device)
    packed = kernels.pack(x, sizes, sum(lengths))
    assert torch.equal(packed, reference(x, sizes))
    back = kernels.unpack(packed, sizes, x.shape[1])
    assert torch.equal(back, reference_unpack(packed, sizes, tokens=x.shape[1]))
    assert back.dtype == dtype
    if sum(lengths) > 3:
        assert torch.equal(kernels.pack(x, sizes, 3), packed[:, :3])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80, 90])
def test_the_triton_kernels_compile_without_spills(architecture):
    from unimodal.kernels.ahead_of_time import SHARED_BYTES, Variant, compile_ahead

    sizes = {"lengths": "*i64:16", "starts": "*i64:16", "tokens": "i32", "total": "i32", "width": "i32:16"}
    variants = [
        Variant(f"unimodal.kernels.packing_triton:{name}", {"x": kind, "out": kind, **sizes}, {"BN": 16, "BD": 256})
        for name in ("_pack", "_unpack")
        for kind in ("*i16:16", "*i32:16")
    ]
    for found in compile_ahead(variants, architecture=architecture):
        assert found.spilled_bytes == 0
        assert found.shared_bytes <= SHARED_BYTES[architecture]
        assert "ld.global.v4" in found.ptx or "ld.global.v2" in found.ptx, "loads are not vectors"
