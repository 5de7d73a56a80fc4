"""Block-local: dense masked attention as the judge, its limits, packs, and how far layers look."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.testing import check_part
from unimodal.tokens import Tokens

IMPLEMENTATIONS = ("reference", "require")


def heads(rows=2, tokens=23, keys=None) -> list[Tensor]:
    sizes = (tokens, keys or tokens, keys or tokens)
    return [torch.randn(rows, 2, n, 4, dtype=torch.float64) for n in sizes]


def allowed(queries: int, keys: int, block: int, lookback: int, causal: bool) -> Tensor:
    """Which keys a query may see, pair by pair."""
    mask = torch.zeros(queries, keys, dtype=torch.bool)
    for n in range(queries):
        place = n + keys - queries
        for m in range(keys):
            own = place // block
            mask[n, m] = own - lookback <= m // block <= own and (not causal or m <= place)
    return mask


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lookback", [0, 1])
@pytest.mark.parametrize(
    "tokens, keys, block", [(23, 23, 5), (24, 24, 6), (23, 23, 1), (7, 7, 8), (6, 21, 4), (1, 9, 4)]
)
def test_it_equals_dense_attention_with_that_mask_and_gradients(tokens, keys, block, lookback, causal, implementation):
    rule = BlockLocalAttention(block=block, lookback=lookback, implementation=implementation)
    leaves = [t.requires_grad_() for t in heads(tokens=tokens, keys=keys)]
    expected = F.scaled_dot_product_attention(*leaves, attn_mask=allowed(tokens, keys, block, lookback, causal))
    o = rule(*leaves, Side(causal=causal))
    torch.testing.assert_close(o, expected, rtol=0, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(rule(*leaves, Side(causal=causal)), expected, rtol=0, atol=1e-10)
    probe = torch.randn_like(o)
    for ours, oracle in zip(*(torch.autograd.grad((y * probe).sum(), leaves) for y in (o, expected)), strict=True):
        torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lookback", [0, 1])
@pytest.mark.parametrize("causal", [False, True])
def test_a_block_as_long_as_the_sequence_is_full_attention(causal, lookback):
    side, leaves = Side(causal=causal), heads()
    full = SoftmaxAttention()(*leaves, side)
    for block in (23, 1000):
        local = BlockLocalAttention(block=block, lookback=lookback)(*leaves, side)
        assert torch.equal(local, full)
    assert not torch.allclose(BlockLocalAttention(block=11, lookback=lookback)(*leaves, side), full)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lookback", [0, 1])
def test_blocks_are_counted_from_the_start_of_each_sequence_of_a_pack_or_a_padded_row(lookback, causal):
    rule, leaves = BlockLocalAttention(block=4, lookback=lookback), heads(rows=1, tokens=30)
    packed = rule(*leaves, Side(causal=causal, cu_seqlens=torch.tensor([0, 11, 11, 30])))
    padded = rule(*(t[:, :, :19] for t in leaves), Side(causal=causal, lengths=torch.tensor([11])))
    for span in (slice(0, 11), slice(11, 30)):
        alone = rule(*(t[:, :, span] for t in leaves), Side(causal=causal))
        torch.testing.assert_close(packed[:, :, span], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded[:, :, :11], packed[:, :, :11], rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("lookback", [0, 1])
def test_layers_look_as_many_blocks_back_as_there_are_layers(lookback, layers):
    part = Part(BlockLocalAttention, block=5, lookback=lookback)
    mixers = [Full(8, heads=2, attention=part).double() for _ in range(layers)]
    x = torch.randn(1, 40, 8, dtype=torch.float64, requires_grad=True)
    y = x
    for mixer in mixers:
        y = y + mixer(y, Side(causal=True))
    y[0, 27].sum().backward()
    assert x.grad is not None
    reached = x.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert reached == list(range(25 - 5 * layers * lookback, 28))


@pytest.mark.parametrize("lookback", [0, 1])
@pytest.mark.parametrize("block", [2, 3])
def test_short_blocks_keep_the_contracts_of_the_family(block, lookback):
    check_part("attention", BlockLocalAttention, block=block, lookback=lookback)


def test_wrong_sizes_and_a_memory_raise():
    with pytest.raises(ValueError, match="block is a number of tokens, at least 1, not 0"):
        BlockLocalAttention(block=0)
    with pytest.raises(ValueError, match="lookback is a number of blocks, 0 or 1, not 2"):
        BlockLocalAttention(lookback=2)
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        BlockLocalAttention()(*heads(), Side(memory=Tokens(torch.randn(2, 5, 8))))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_on_a_packed_batch_is_refused(name):
    side = Side(cu_seqlens=torch.tensor([0, 3, 23])).replace(**{name: torch.ones(23, 23).to(torch.bool)})
    with pytest.raises(ValueError, match="no mask, no bias"):
        BlockLocalAttention()(*heads(rows=1), side)
