"""The recursive block: its loops written out, the gradient of what is shared, and very deep stacks."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.mixers.sliced_groups import SlicedGroups
from unimodal.part import Part
from unimodal.part_checks import part_checks
from unimodal.recursive_block import RecursiveBlock
from unimodal.side import Side
from unimodal.token_slices import TokenSlices
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer
from unimodal.weighted_residual import WeightedResidual

DIM = 8
BLOCKS = (Part(WeightedResidual, branch=Part(Full, heads=2)), Part(WeightedResidual, branch=Part(Plain)))
SLICES = (Part(TokenSlices, groups=3), Part(TokenSlices, groups=2, permuted=True))


def block(**changes: Any) -> Any:
    torch.manual_seed(0)
    module = RecursiveBlock(DIM, **{"blocks": BLOCKS, "loops": 3, **changes}).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module


def test_it_is_the_shared_blocks_and_a_projection_of_its_own_behind_each_time():
    module, x = block(), torch.randn(2, 7, DIM, dtype=torch.float64)
    expected, mixing, feeding = x, *module.blocks
    for project in module.projections:
        expected = mixing.kept * expected + mixing.added * mixing.branch(mixing.norm(expected))
        expected = feeding.kept * expected + feeding.added * feeding.branch(feeding.norm(expected))
        expected = project.kept * expected + project.added * project.branch(project.norm(expected))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)
    assert len({id(p) for project in module.projections for p in project.parameters()}) == 3 * 8


def test_a_loop_on_slices_is_the_block_with_attention_in_groups():
    module, x = block(slices=SLICES), torch.randn(2, 8, DIM, dtype=torch.float64)
    expected, (mixing, feeding) = x, module.blocks
    for t, project in enumerate(module.projections):
        groups, permuted = ((3, False), (2, True))[t % 2]
        grouped = SlicedGroups(DIM, heads=2, groups=groups, permuted=permuted).double().eval()
        grouped.full = mixing.branch
        expected = mixing.kept * expected + mixing.added * grouped(mixing.norm(expected))
        expected = project(feeding(expected))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("slices", [(), SLICES])
def test_the_gradient_of_what_is_shared_is_the_sum_over_untied_copies(slices):
    module, x = block(slices=slices), torch.randn(2, 7, DIM, dtype=torch.float64)
    copies = []
    for t in range(3):
        one = copy.deepcopy(module)
        one.projections = module.projections[t : t + 1]
        one.slices = one.slices[t % 2 : t % 2 + 1]
        copies.append(one)
    into = torch.randn(2, 7, DIM, dtype=torch.float64)
    y = x
    for one in copies:
        y = one(y)
    assert torch.equal(y, module(x))
    y.backward(into)
    module(x).backward(into)
    for name, parameter in module.blocks.named_parameters():
        total = sum(dict(one.blocks.named_parameters())[name].grad for one in copies)
        torch.testing.assert_close(parameter.grad, total, rtol=1e-10, atol=1e-10, msg=name)


def test_more_loops_add_the_parameters_of_their_projections_and_no_others():
    def parameters(loops, ratio):
        project = Part(WeightedResidual, branch=Part(Plain, ratio=ratio))
        module = RecursiveBlock(DIM, blocks=BLOCKS, loops=loops, project=project)
        return sum(p.numel() for p in module.parameters()), sum(p.numel() for p in module.blocks.parameters())

    for ratio in (1.0, 2.0):
        hidden = int(ratio * DIM)
        projection = 2 * DIM * hidden + hidden + DIM + 2 * DIM + 2  # two maps with biases, a norm, two numbers
        counts = [parameters(loops, ratio) for loops in (1, 2, 4)]
        assert len({shared for _, shared in counts}) == 1
        assert [total - shared for total, shared in counts] == [projection, 2 * projection, 4 * projection]


@pytest.mark.parametrize("slices", [(), SLICES])
def test_it_keeps_the_contracts_of_what_mixes_tokens(slices):
    for check in part_checks("mixers", RecursiveBlock, blocks=BLOCKS, slices=slices).values():
        check()


def test_a_memory_reaches_the_shared_blocks_and_is_refused_with_slices():
    x = torch.randn(1, 4, DIM, dtype=torch.float64)
    side = Side(memory=Tokens(torch.randn(1, 3, DIM, dtype=torch.float64)))
    assert not torch.equal(block()(x, side), block()(x))
    with pytest.raises(ValueError, match="memory"):
        block(slices=SLICES)(x, side)


def test_a_hundred_applications_train_to_two_thirds_of_the_loss_without_a_number_going_astray():
    torch.manual_seed(0)
    model: Any = Transformer(16, depth=5, blocks=Part(RecursiveBlock, blocks=BLOCKS, loops=20, slices=SLICES))
    shared = sum(p.numel() for one in model.blocks for p in one.blocks.parameters())
    assert sum(p.numel() for p in model.parameters()) == shared + 100 * (2 * 16 * 16 + 4 * 16 + 2)
    x, losses = torch.randn(8, 6, 16), []
    target = F.layer_norm(x.flip(1).cumsum(1), (16,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    for _ in range(30):
        loss = F.mse_loss(F.layer_norm(model(Tokens(x)).x, (16,)), target)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * 2 / 3


def test_stochastic_depth_reaches_the_shared_blocks_only():
    module: Any = Transformer(DIM, depth=2, blocks=Part(RecursiveBlock, blocks=BLOCKS), drop_path=0.3)
    assert [[half.drop_path for half in one.blocks] for one in module.blocks] == [[0.0, 0.0], [0.3, 0.3]]
    assert all(project.drop_path == 0.0 for one in module.blocks for project in one.projections)


def test_any_block_can_be_shared():
    part = Part(RecursiveBlock, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain)), loops=4)
    assert part(DIM)(torch.randn(1, 3, DIM)).shape == (1, 3, DIM)


@pytest.mark.parametrize("change", [{"loops": 0}, {"blocks": ()}])
def test_a_recursion_of_nothing_is_refused(change):
    with pytest.raises(ValueError, match="loops must be positive and blocks not empty"):
        block(**change)


def test_slices_that_no_loop_would_use_are_refused():
    with pytest.raises(ValueError, match="2 slices for 1 loops"):
        block(loops=1, slices=SLICES)
