"""Tokens: three layouts of one batch, and a tree that torch sees through."""

import copy

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from unimodal.side import Side
from unimodal.tokens import Tokens

LENGTHS, GRIDS = [7, 3, 5], ((2, 3), (1, 2), (4, 1))
FIELDS = ("x", "positions", "size", "score", "modality")


def ragged() -> Tokens:
    """Three rows of 7, 3 and 5 tokens, each with one prefix token; padding is zero."""
    real = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    side = Side(
        grids=GRIDS,
        prefix=1,
        positions=torch.randn(3, 7, 2) * real[..., None],
        size=torch.rand(3, 7) * real,
        score=torch.rand(3, 7) * real,
        modality=torch.randint(1, 5, (3, 7)) * real,
        lengths=torch.tensor(LENGTHS),
        causal=True,
    )
    return Tokens(torch.randn(3, 7, 4) * real[..., None], side)


def same(one: Tokens, other: Tokens) -> bool:
    values, spec = pytree.tree_flatten(one)
    others, other_spec = pytree.tree_flatten(other)
    return spec == other_spec and all(torch.equal(a, b) for a, b in zip(values, others, strict=True))


def test_packed_and_padded_are_exact_inverses_in_every_field():
    tokens = ragged()
    packed = tokens.packed()
    assert same(packed.padded(), tokens)
    assert same(packed.padded().packed(), packed)


def test_packed_lays_the_real_tokens_end_to_end():
    tokens = ragged()
    packed = tokens.packed()
    assert packed.side.cu_seqlens is not None
    assert packed.side.cu_seqlens.tolist() == [0, 7, 10, 15]
    assert packed.side.cu_seqlens.dtype == torch.int32
    assert packed.side.lengths is None
    for name in FIELDS:
        before, after = (t.x if name == "x" else getattr(t.side, name) for t in (tokens, packed))
        assert torch.equal(after[0], torch.cat([before[0], before[1, :3], before[2, :5]]))


def test_a_uniform_batch_packs_and_comes_back_uniform():
    tokens = Tokens(torch.randn(2, 7, 4), Side(grid=(2, 3), prefix=1))
    packed = tokens.packed()
    assert packed.side.grids == ((2, 3), (2, 3))
    assert same(packed.padded(), tokens)


def test_a_layout_that_is_there_already_is_returned_as_it_is():
    tokens = ragged()
    assert tokens.padded() is tokens
    assert (packed := tokens.packed()).packed() is packed


def test_gradients_of_packing_and_padding_are_those_of_the_identity():
    tokens = ragged()
    x = tokens.x.clone().requires_grad_()
    probe = torch.randn(3, 7, 4)
    (tokens.replace(x).packed().padded().x * probe).sum().backward()
    real = (torch.arange(7) < torch.tensor(LENGTHS)[:, None])[..., None]
    assert x.grad is not None
    assert torch.equal(x.grad, probe * real)


def test_lengths_sequences_and_split_agree_in_every_layout():
    tokens = ragged()
    for form in (tokens, tokens.packed()):
        assert (form.sequences, form.sequence_lengths()) == (3, LENGTHS)
        assert all(
            torch.equal(row, tokens.x[i, :n]) for i, (row, n) in enumerate(zip(form.split(), LENGTHS, strict=True))
        )
    uniform = Tokens(tokens.x)
    assert (uniform.sequences, uniform.sequence_lengths()) == (3, [7, 7, 7])


def test_the_lattice_is_what_is_behind_the_prefix_in_every_layout():
    tokens = ragged()
    expected = [row[1:] for row in tokens.split()]
    for form in (tokens.lattice(), tokens.packed().lattice()):
        assert form.side.prefix == 0
        assert form.side.grids == GRIDS
        assert form.sequence_lengths() == [6, 2, 4]
        assert all(torch.equal(a, b) for a, b in zip(form.split(), expected, strict=True))
    assert same(tokens.packed().lattice(), tokens.lattice().packed())
    size, packed_size = tokens.side.size, tokens.packed().lattice().side.size
    assert size is not None
    assert packed_size is not None
    assert torch.equal(packed_size[0], torch.cat([size[0, 1:7], size[1, 1:3], size[2, 1:5]]))
    bare = Tokens(tokens.x)
    assert bare.lattice() is bare


def test_replace_changes_the_values_or_the_side():
    tokens = ragged()
    assert tokens.replace(2 * tokens.x).side is tokens.side
    assert tokens.replace(prefix=0).x is tokens.x
    assert tokens.replace(prefix=0).side.prefix == 0


def test_a_tree_map_reaches_every_tensor_and_nothing_else():
    held = ragged().replace(memory=Tokens(torch.randn(3, 2, 4), Side(lengths=torch.tensor([1, 2, 2]))))
    doubled = pytree.tree_map(lambda t: t * 2, held)
    assert len(pytree.tree_leaves(held)) == 8
    assert doubled.side.memory is not None
    assert held.side.memory is not None
    assert torch.equal(doubled.side.memory.x, 2 * held.side.memory.x)
    assert (doubled.side.grids, doubled.side.prefix, doubled.side.causal) == (GRIDS, 1, True)
    paths = [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(held)]
    assert paths[:2] == [".x", ".side.positions"]
    assert ".side.memory.side.lengths" in paths


def test_a_deep_copy_is_equal_and_shares_nothing():
    tokens = ragged()
    twin = copy.deepcopy(tokens)
    assert same(twin, tokens)
    assert twin.x is not tokens.x


def scaled(tokens: Tokens) -> Tokens:
    return tokens.replace(tokens.x.sin() * tokens.side.positions.sum(-1, keepdim=True))  # pyright: ignore[reportOptionalMemberAccess]


def test_checkpointing_recomputes_through_tokens_with_equal_gradients():
    tokens = ragged()
    gradients = []
    for run in (scaled, lambda t: checkpoint(scaled, t, use_reentrant=False)):
        x = tokens.x.clone().requires_grad_()
        run(tokens.replace(x)).x.square().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


class Scaled(torch.nn.Module):
    def forward(self, tokens: Tokens) -> Tokens:
        return scaled(tokens)


def test_export_takes_and_returns_tokens_with_a_free_batch_size():
    tokens = Tokens(torch.randn(3, 6, 4), Side(grid=(2, 3), positions=torch.randn(3, 6, 2), causal=True))
    rows = torch.export.Dim("rows", min=1, max=64)
    of_side = [{0: rows}]  # one entry a tensor that the side holds
    program = torch.export.export(Scaled(), (tokens,), dynamic_shapes=([{0: rows}, of_side],))
    five = Tokens(torch.randn(5, 6, 4), tokens.side.replace(positions=torch.randn(5, 6, 2)))
    out = program.module()(five)
    assert isinstance(out, Tokens)
    assert out.side.grid == (2, 3)
    torch.testing.assert_close(out.x, scaled(five).x)


@pytest.mark.slow
def test_compile_sees_through_tokens_in_one_graph():
    tokens = ragged()
    compiled = torch.compile(scaled, fullgraph=True)
    torch.testing.assert_close(compiled(tokens).x, scaled(tokens).x)


@pytest.mark.parametrize(
    "changes",
    [{"mask": torch.ones(7).bool()}, {"bias": torch.ones(7)}, {"memory": Tokens(torch.zeros(3, 2, 4))}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_has_no_packed_form_raises(changes):
    tokens, message = ragged(), f"'{next(iter(changes))}' is set and not supported"
    with pytest.raises(ValueError, match=message):
        Tokens(tokens.x, tokens.side.replace(**changes)).packed()
    packed = tokens.packed()
    with pytest.raises(ValueError, match=message):
        Tokens(packed.x, packed.side.replace(**changes)).padded()


def test_tokens_of_other_than_three_axes_raise():
    with pytest.raises(ValueError, match=r"tokens have the axes \(batch, tokens, width\), not shape \(2, 3\)"):
        Tokens(torch.zeros(2, 3))


def test_a_packed_batch_of_two_rows_raises():
    with pytest.raises(ValueError, match="a packed batch has one row, not 2"):
        Tokens(torch.zeros(2, 3, 4), Side(cu_seqlens=torch.tensor([0, 3])))
