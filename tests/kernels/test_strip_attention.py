"""Attention in strips against its dense form in float64: outputs, gradients, lengths, packs and influence."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.kernels import strip_attention as module
from unimodal.kernels.strip_attention import choose, strip_attention
from unimodal.kernels.strips import Strips

TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-6, torch.bfloat16: 2e-2}
STRIPS = {
    "blocks": Strips(32),
    "causal blocks": Strips(32, causal=True),
    "blocks and the one before": Strips(32, 32),
    "causal blocks and the one before": Strips(32, 32, causal=True),
    "long causal blocks and the one before": Strips(150, 150, causal=True),
    "window": Strips(8, 13, 13, window=13),
    "causal window": Strips(8, 13, window=13, causal=True),
    "narrow window": Strips(8, 2, 2, window=2),
}


def equation(q: Tensor, k: Tensor, v: Tensor, strips: Strips, mask=None, bias=None, lengths=None) -> Tensor:
    """o_n = sum_m w_nm v_m, w_n the softmax of q_n k_m / sqrt(K) + b_nm over the keys that n sees, row by row."""
    (batch, heads, queries, width), keys = q.shape, k.shape[2]
    leaves = [t for t in (q, k, v, bias) if t is not None]
    nothing, rows = 0.0 * torch.stack([t.sum() for t in leaves]).sum().expand(v.shape[3]), []
    for b in range(batch):
        for h in range(heads):
            g = h * k.shape[1] // heads
            for n in range(queries):
                place = n + keys - queries
                start = place // strips.rows * strips.rows
                seen = [
                    m
                    for m in range(keys if lengths is None else int(lengths[b]))
                    if start - strips.behind <= m < start + strips.rows + strips.ahead
                    and (not strips.causal or m <= place)
                    and (strips.window is None or abs(m - place) <= strips.window)
                    and (mask is None or mask.expand(batch, heads, queries, keys)[b, h, n, m])
                ]
                if not seen:
                    rows.append(nothing)
                    continue
                logit = k[b, g, seen] @ q[b, h, n] / width**0.5
                if bias is not None:
                    logit = logit + bias.expand(batch, heads, queries, keys)[b, h, n, seen]
                rows.append(logit.softmax(-1) @ v[b, g, seen])
    return torch.stack(rows or [nothing])[: len(rows)].reshape(batch, heads, queries, v.shape[3])


def inputs(queries: int, keys: int, *, batch=1, heads=2, key_heads=1, width=8) -> dict[str, Any]:
    """q, k and v, exact in bfloat16, so that every dtype computes the same problem."""
    shapes = {"q": (heads, queries), "k": (key_heads, keys), "v": (key_heads, keys)}
    return {name: torch.randn(batch, *shape, width).bfloat16().double() for name, shape in shapes.items()}


def gradients(run, leaves: dict[str, Any], dtype=torch.float64, upto=None, **fixed) -> list[Tensor]:
    """The output and the gradient of <output, probe> for every leaf; ``upto`` cuts each row behind its real tokens."""
    used = {name: t.to(dtype, copy=True).requires_grad_() for name, t in leaves.items()}
    out = run(**used, **fixed)
    assert out.dtype == dtype
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16().to(dtype)
    if upto is not None:
        real = torch.arange(out.shape[2]) < upto[:, None, None]
        out, probe = out * real[..., None], probe * real[..., None]
    if out.requires_grad:
        out.backward(probe)
    return [out.detach().double(), *(t.grad.double() for t in used.values() if t.grad is not None)]


def largest_error(got: list[Tensor], expected: list[Tensor]) -> float:
    pairs = [(a, b) for a, b in zip(got, expected, strict=False) if b.numel()]
    return max((float((a - b).abs().max() / b.abs().max().clamp_min(1e-2)) for a, b in pairs), default=0.0)


@pytest.mark.parametrize("name", STRIPS)
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 100, 257])
def test_outputs_and_gradients_equal_the_equation_in_every_dtype(size, name):
    leaves = inputs(size, size)
    expected = gradients(equation, leaves, strips=STRIPS[name])
    for dtype, allowed in TOLERANCE.items():
        for implementation in ("require", "reference"):
            run = partial(strip_attention, implementation=implementation)
            got = gradients(run, leaves, dtype, strips=STRIPS[name])
            assert largest_error(got, expected) < allowed, (dtype, implementation)
    with torch.no_grad():  # another way through: overlapping views, one mask for the strips in the middle
        plain = strip_attention(**leaves, strips=STRIPS[name], implementation="require")
    assert largest_error([plain], expected) < 1e-10


@pytest.mark.parametrize("queries, keys", [(5, 9), (1, 70), (40, 70), (9, 5), (70, 33), (3, 0)])
@pytest.mark.parametrize("name", STRIPS)
def test_other_numbers_of_keys_than_queries(name, queries, keys):
    leaves = inputs(queries, keys, batch=2)
    expected = gradients(equation, leaves, strips=STRIPS[name])
    for implementation in ("require", "reference"):
        run = partial(strip_attention, implementation=implementation)
        assert largest_error(gradients(run, leaves, strips=STRIPS[name]), expected) < 1e-10, implementation


@pytest.mark.parametrize("shape", [(70,), (40, 70), (40, 1), (2, 1, 1, 70), (2, 4, 40, 70)])
@pytest.mark.parametrize("strips", [Strips(8), Strips(8, 8, causal=True), Strips(8, 5, 5, window=5), Strips(80)])
def test_masks_and_biases_broadcast_from_the_right_with_gradients(shape, strips):
    leaves = inputs(40, 70, batch=2, heads=4, key_heads=2)
    leaves["bias"], mask = torch.randn(shape, dtype=torch.float64), torch.rand(shape) < 0.5
    cases: tuple[dict[str, Any], ...] = ({"mask": mask}, {})
    for fixed in cases:
        expected = gradients(equation, leaves, strips=strips, **fixed)
        for implementation in ("require", "reference"):
            run = partial(strip_attention, implementation=implementation)
            assert largest_error(gradients(run, leaves, strips=strips, **fixed), expected) < 1e-10


@pytest.mark.parametrize("key_heads", [1, 2, 3, 6])
def test_each_group_of_query_heads_reads_its_own_key_head(key_heads):
    leaves = inputs(20, 20, heads=6, key_heads=key_heads, batch=3)
    for strips in (Strips(6, 6, causal=True), Strips(4, 3, 3, window=3)):
        expected = gradients(equation, leaves, strips=strips)
        assert largest_error(gradients(strip_attention, leaves, strips=strips), expected) < 1e-10


@pytest.mark.parametrize("sizes", [[70, 33, 0, 1], [9, 8, 0, 1]])
@pytest.mark.parametrize("name", STRIPS)
def test_padded_and_packed_sequences_equal_each_one_alone_with_gradients(name, sizes):
    strips, lengths = STRIPS[name], torch.tensor(sizes)
    leaves = inputs(sizes[0], sizes[0], batch=4, heads=4, key_heads=2)
    expected = gradients(equation, leaves, strips=strips, lengths=lengths, upto=lengths)

    def real(x: Tensor) -> Tensor:
        return torch.cat([row[:, :n] for row, n in zip(x, sizes, strict=True)], 1)[None]

    joined = {n: real(leaves[n]) for n in "qkv"}
    cu = torch.tensor([0, *sizes]).cumsum(0).to(torch.int32)

    def one_by_one(q, k, v):
        pieces = [slice(a, b) for a, b in zip(cu[:-1].tolist(), cu[1:].tolist(), strict=True)]
        return torch.cat([equation(q[:, :, s], k[:, :, s], v[:, :, s], strips) for s in pieces], 2)

    alone = gradients(one_by_one, joined)
    for implementation in ("require", "reference"):
        run = partial(strip_attention, implementation=implementation, strips=strips)
        assert largest_error(gradients(run, leaves, lengths=lengths, upto=lengths), expected) < 1e-10
        assert largest_error(gradients(run, joined, cu_seqlens=cu), alone) < 1e-10
    torch.testing.assert_close(real(expected[0]), alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_the_pieces_of_a_long_causal_strip_do_not_matter(monkeypatch, piece):
    monkeypatch.setattr(module, "PIECE", piece)
    leaves = inputs(40, 40, batch=2)
    for strips in (Strips(16, 16, causal=True), Strips(16, 5, causal=True), Strips(16, causal=True)):
        expected = gradients(equation, leaves, strips=strips)
        assert largest_error(gradients(strip_attention, leaves, strips=strips), expected) < 1e-10


def test_what_lies_outside_of_a_strip_has_no_influence():
    strips, leaves = Strips(8, 8), inputs(32, 32)
    before = strip_attention(**leaves, strips=strips)
    for name in ("k", "v"):
        leaves[name][:, :, :8] += 3.0
        leaves[name][:, :, 24:] -= 3.0
    after = strip_attention(**leaves, strips=strips)
    assert torch.equal(before[:, :, 16:24], after[:, :, 16:24])
    assert not torch.equal(before[:, :, 8:16], after[:, :, 8:16])


@pytest.mark.slow
def test_memory_grows_linearly_with_the_sequence(peak_growth):
    program = """
from unimodal.kernels.strip_attention import strip_attention
from unimodal.kernels.strips import Strips
def run(n):
    q, k, v = (torch.randn(1, 1, n, 16, requires_grad=True) for _ in range(3))
    strip_attention(q, k, v, Strips(64, 64, causal=True)).sum().backward()
    with torch.no_grad():
        strip_attention(q, k, v, Strips(32, 64, 64, window=64))
"""
    kilobytes = peak_growth(program, "256", "16384")
    assert kilobytes < 60_000, f"{kilobytes} kB; one 16384 x 16384 matrix of scores takes 1048576 kB"


@pytest.mark.slow
def test_a_compiled_function_gives_the_same_with_gradients():
    leaves = inputs(40, 40, batch=2)
    for strips in (Strips(8, 8, causal=True), Strips(8, 5, 5, window=5)):
        compiled = torch.compile(partial(strip_attention, strips=strips), backend="aot_eager", fullgraph=True)
        expected = gradients(strip_attention, leaves, strips=strips)
        assert largest_error(gradients(compiled, leaves), expected) < 1e-12


def test_an_exported_program_takes_other_packs_of_as_many_tokens():
    class Packed(torch.nn.Module):
        def forward(self, q, k, v, cu):
            return strip_attention(q, k, v, Strips(4, 4, causal=True), cu_seqlens=cu)

    q, k, v = inputs(24, 24).values()
    program = torch.export.export(Packed(), (q, k, v, torch.tensor([0, 5, 17, 24])))
    for cu in (torch.tensor([0, 12, 13, 24]), torch.tensor([0, 0, 24, 24])):
        torch.testing.assert_close(program.module()(q, k, v, cu), Packed()(q, k, v, cu))


def test_the_choice_says_why():
    q, k, v = inputs(4, 7).values()
    assert choose(q, k, v).implementation == "strips in torch scaled_dot_product_attention"
    assert choose(q, k, v, implementation="reference").reason == "asked for"
    assert "different dtypes: torch.float32, torch.float64" in choose(q.float(), k, v).reason


def test_demanding_the_fast_path_where_it_cannot_run_raises_with_the_reason():
    q, k, v = inputs(4, 7).values()
    with pytest.raises(RuntimeError, match="strips .* cannot run: q, k and v have different dtypes"):
        strip_attention(q.float(), k, v, Strips(2), implementation="require")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 3, "key_heads": 2}, "3 query heads are not a multiple of 2 key and 2 value heads"),
        ({"mask": torch.ones(4, 7)}, "mask must be boolean .* not torch.float32"),
        ({"mask": torch.ones(4, 6).bool()}, r"mask \(4, 6\) does not broadcast to \(B, H, N, M\) = \(1, 2, 4, 7\)"),
        ({"bias": torch.ones(3, 4, 7)}, r"bias \(3, 4, 7\) does not broadcast"),
        ({"cu_seqlens": torch.tensor([0, 4])}, "a packed batch has one row and as many keys as queries"),
        ({"keys": 4, "batch": 2, "cu_seqlens": torch.tensor([0, 4])}, "a packed batch has one row"),
        ({"keys": 4, "cu_seqlens": torch.tensor([0, 4]), "mask": torch.ones(4, 4).bool()}, "takes no mask"),
        ({"keys": 4, "cu_seqlens": torch.tensor([0, 4]), "lengths": torch.tensor([4])}, "no lengths"),
    ],
)
@pytest.mark.parametrize("rows", [2, 100])
def test_arguments_that_do_not_fit_raise(changes, message, rows):
    changes = dict(changes)
    sizes = {name: changes.pop(name) for name in ("heads", "key_heads", "batch") if name in changes}
    leaves = inputs(4, changes.pop("keys", 7), **sizes)
    with pytest.raises(ValueError, match=message):
        strip_attention(**leaves, strips=Strips(rows), **changes)
