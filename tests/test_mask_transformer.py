"""Mask transformer: one step of masked attention in loops, queries without an order, other parts, refusals."""

from typing import Any

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.learned_queries import LearnedQueries
from unimodal.level_waves import level_waves
from unimodal.mask_transformer import MaskTransformer
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.universal_segmenter import universal_segmenter

GRIDS, FINE = ((2, 3), (3, 5), (6, 9)), (6, 9)
MASKS = universal_segmenter(Part(nn.Identity), classes=3, queries=4, heads=2, depths=(1, 4), hidden=(8, 8)).kwargs[
    "masks"
]


def decoder(width_in: int = 8, **options: Any) -> Any:
    made = MASKS(width_in, 5, **options).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def inputs(rows: int = 2, width: int = 8) -> tuple[Tokens, list[Tokens]]:
    fine, *levels = (
        Tokens(torch.randn(rows, grid[0] * grid[1], n, dtype=torch.float64), Side(grid=grid))
        for grid, n in ((FINE, 5), *((grid, width) for grid in GRIDS))
    )
    return fine, levels


def read(block: Any, x_ND: Tensor, at_ND: Tensor, m_MD: Tensor, seen_NM: Tensor, waves_MD: Tensor) -> Tensor:
    """One masked step in loops: a query and a head at a time, over the cells that the query may read."""
    mixer, rows = block.mixer, []
    (to_q, to_k, to_v), (b_q, b_k, b_v) = mixer.to_qkv.weight.chunk(3), mixer.to_qkv.bias.chunk(3)
    for n in range(len(x_ND)):
        cells = [m for m in range(len(m_MD)) if seen_NM[n, m] or not seen_NM[n].any()]
        heads = []
        for h in range(2):
            part = slice(4 * h, 4 * h + 4)
            q = (to_q @ (x_ND[n] + at_ND[n]) + b_q)[part]
            gate = torch.stack([(q @ (to_k @ (m_MD[m] + waves_MD[m]) + b_k)[part] / 2).exp() for m in cells])
            value = torch.stack([(to_v @ m_MD[m] + b_v)[part] for m in cells])
            heads.append((gate[:, None] * value).sum(0) / gate.sum())
        rows.append(mixer.to_out(torch.cat(heads)))
    norm = block.norm_mixer
    return F.layer_norm(x_ND + torch.stack(rows), (8,), norm.weight, norm.bias, 1e-5)


def test_one_step_is_attention_within_the_last_masks_and_leads_to_the_next_prediction():
    made, (fine, levels) = decoder(depth=1, levels=1), inputs()
    first, second = made(fine, levels[2:])
    for b in range(2):
        queries = made.queries
        x = queries.features
        masks = [made.norm(x)]
        for i, layer in enumerate(made.to_masks):
            masks.append(layer(masks[-1]).relu() if i < 2 else layer(masks[-1]))
        logits = masks[-1] @ fine.x[b].T
        torch.testing.assert_close(first.masks[b].flatten(1), logits, rtol=0, atol=1e-12)
        m = levels[2].x[b] + made.level[0]
        chain = made.blocks[0].parts
        x = read(chain[0], x, queries.positions, m, logits.sigmoid() >= 0.5, level_waves((FINE,), 8).double())
        x = chain[1].part(x[None], Side(positions=queries.positions[None]))
        classes = made.to_classes(made.norm(x))[0]
        torch.testing.assert_close(second.classes[b], classes, rtol=0, atol=1e-10)


def test_another_order_of_queries_is_another_order_of_predictions():
    made, given, order = decoder(), inputs(), torch.tensor([2, 0, 3, 1])
    before = made(*given)
    with torch.no_grad():
        for part in (made.queries.features, made.queries.positions):
            part.copy_(part[order])
    for a, b in zip(before, made(*given), strict=True):
        torch.testing.assert_close(b.classes, a.classes[:, order])
        torch.testing.assert_close(b.masks, a.masks[:, order])


def test_there_is_a_prediction_before_the_first_block_and_behind_each_and_pictures_are_apart():
    made, (fine, levels), (other, others) = decoder(), inputs(), inputs()
    found = made(fine, levels)
    assert [(tuple(p.classes.shape), tuple(p.masks.shape)) for p in found] == [((2, 4, 4), (2, 4, *FINE))] * 5
    mixed = [
        Tokens(torch.cat([a.x[:1], b.x[1:]]), a.side) for a, b in zip((fine, *levels), (other, *others), strict=True)
    ]
    again = made(mixed[0], mixed[1:])
    assert torch.equal(again[-1].masks[0], found[-1].masks[0])


def test_every_parameter_gets_a_gradient_from_all_predictions():
    made = decoder(12, width=8)
    found = made(*inputs(width=12))
    torch.stack([p.classes.square().sum() + p.masks.square().sum() for p in found]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


class Told(nn.Module):
    """Queries of which each starts as the task."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(4, dim))

    def forward(self, fine: Tokens, task: Tensor) -> Tokens:
        return Tokens(task[:, None].expand(-1, 4, -1), Side(positions=self.positions.expand(len(fine.x), -1, -1)))


class Gathered(nn.Module):
    """A block that adds up the cells each query was told to read, as a step of k-means does."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, side: Side) -> Tensor:
        assert side.memory is not None
        assert side.mask is not None
        return x + side.mask[:, 0].to(x.dtype) @ side.memory.x


def test_other_queries_and_other_blocks_fit_into_the_same_decoder():
    made, (fine, levels) = decoder(queries=Part(Told), block=Part(Gathered)), inputs()
    found = [made(fine, levels, task)[-1].classes for task in torch.randn(2, 2, 8, dtype=torch.float64)]
    assert not torch.equal(*found)


def test_it_comes_back_from_json():
    assert Part.from_json(MASKS.to_json()) == MASKS


@pytest.mark.parametrize(
    "options, said",
    [
        ({"depth": 0}, "must be positive, not 3, 0, 3"),
        ({"width": 12, "projected": False}, "levels of width 8 must be projected to the queries' 12"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        decoder(**options)


def test_levels_that_do_not_fit_are_refused():
    made, (fine, levels) = decoder(), inputs()
    with pytest.raises(ValueError, match="there are 2 levels, and 3 are read"):
        made(fine, levels[1:])
    with pytest.raises(ValueError, match="a lattice of two axes"):
        made(Tokens(fine.x), levels)
    with pytest.raises(ValueError, match="multiple of 4 channels, not 6"):
        MaskTransformer(6, 5, classes=1, queries=Part(LearnedQueries, count=2), block=Part(Gathered))(fine, levels)
