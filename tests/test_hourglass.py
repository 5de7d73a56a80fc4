"""Hourglass: its equation in loops, the plain blocks as its limit, who goes through, layouts, gradients, refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.hourglass import Hourglass
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.residual import Residual
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

BLOCK = Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain, ratio=2.0))
POSITION = Part(Residual, branch=(Part(Depthwise),))


def of(depth: int = 3, position: Part | None = POSITION, **options: Any) -> Any:
    made = Hourglass(8, blocks=(BLOCK,) * depth, position=position, **options).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made


def tokens_on(*grid: int, rows: int = 2, scored: bool = False) -> Tokens:
    n = grid[0] * grid[1]
    score = torch.nn.functional.pad(torch.rand(rows, n, dtype=torch.float64), (1, 0)) if scored else None
    return Tokens(torch.randn(rows, 1 + n, 8, dtype=torch.float64), Side(grid=grid, prefix=1, score=score))


def shares_of_the_class_token(block: Any, z_ND: Tensor) -> Tensor:
    h = block.norm_mixer(z_ND)
    q, k, _ = block.mixer.to_qkv(h).split(8, dim=-1)
    heads = [(q[0, i : i + 4] @ k[:, i : i + 4].T / 2.0).exp() for i in (0, 4)]
    return sum(head / head.sum() for head in heads)[1:] / 2  # pyright: ignore


def written_out(stage: Any, x_ND: Tensor, grid: tuple[int, ...], score: list[Tensor] | None) -> tuple[Tensor, Tensor]:
    """One sequence, token by token."""
    for position, block in zip(stage.positions, stage.blocks, strict=True):
        rows = [x_ND[0], *position(x_ND[None, 1:], Side(grid=grid))[0]]
        count = len(rows) - 1
        order = sorted(range(count), key=lambda j: -float(score[j]) if score else 0.0)
        kept = order[: int(count * stage.kept)] if score else order
        rest = [j for j in order if j not in kept]
        chosen = [rows[0], *(rows[1 + j] for j in kept)]
        if rest:
            assert score is not None
            summary = sum(score[j] * rows[1 + j] for j in rest) / sum(score[j] for j in rest)
            chosen.append(summary)  # pyright: ignore
        z = torch.stack(chosen)
        y, looked = block(z[None])[0], shares_of_the_class_token(block, z)
        rows[0] = y[0]
        for i, j in enumerate(kept):
            rows[1 + j] = y[1 + i]
        for j in rest:
            rows[1 + j] = rows[1 + j] + y[-1] - z[-1]
        if score is None:
            score = list(looked)
        else:
            a = stage.trade_off
            score = [(1 - a) * s + a * looked[kept.index(j)] if j in kept else s for j, s in enumerate(score)]
        x_ND = torch.stack(rows)
    assert score is not None
    return x_ND, torch.stack(score)


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("grid, options", [((4, 5), {}), ((3, 3), {"kept": 0.3, "trade_off": 0.2}), ((1, 7), {})])
def test_it_is_its_equation_token_by_token(grid, options, scored):
    stage, tokens = of(**options), tokens_on(*grid, scored=scored)
    with torch.no_grad():
        made = stage(tokens)
        for i, x_ND in enumerate(tokens.x):
            score = None if tokens.side.score is None else list(tokens.side.score[i, 1:])
            x, s = written_out(stage, x_ND, grid, score)
            torch.testing.assert_close(made.x[i], x, rtol=0, atol=1e-11)
            torch.testing.assert_close(made.side.score[i], torch.cat([torch.zeros(1), s]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid, kept", [((4, 5), 1.0), ((1, 2), 0.5), ((1, 1), 0.5)])
def test_with_all_tokens_kept_or_one_left_alone_it_is_the_plain_blocks_exactly(grid, kept):
    stage, tokens = of(position=None, kept=kept), tokens_on(*grid, scored=True)
    plain = Transformer(8, depth=3, blocks=BLOCK).double().eval()
    plain.load_state_dict({k: v for k, v in stage.state_dict().items() if k.startswith("blocks")})
    assert torch.equal(stage(tokens).x, plain(tokens).x)


def test_the_highest_scores_go_through_in_their_places_and_the_rest_gets_one_update():
    stage, tokens = of(1, None, trade_off=0.5), tokens_on(3, 4, rows=1, scored=True)
    assert tokens.side.score is not None
    high = tokens.side.score[0, 1:].sort(descending=True).indices
    with torch.no_grad():
        made = stage(tokens)
    update = (made.x - tokens.x)[0, 1:]
    rest = update[high[6:]]
    torch.testing.assert_close(rest, rest[:1].expand_as(rest), rtol=0, atol=1e-12)
    assert float((update[high[:6]] - rest[0]).abs().amax(1).min()) > 1e-3
    stays = made.side.score[0, 1:] == tokens.side.score[0, 1:]
    assert stays.nonzero()[:, 0].tolist() == sorted(high[6:].tolist())


def test_scores_say_who_goes_through_even_where_they_are_all_nothing_among_the_rest():
    stage, tokens = of(1, None), tokens_on(2, 2, rows=1)
    made = stage(tokens.replace(score=torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0]], dtype=torch.float64)))
    assert made.x.isfinite().all()


@pytest.mark.parametrize("scored", [False, True])
def test_sequences_of_several_lattices_give_what_each_gives_alone(scored):
    stage, rows = of(), [tokens_on(*grid, rows=1, scored=scored) for grid in ((3, 4), (1, 3), (4, 4))]
    ends = torch.tensor([0, 13, 17, 34], dtype=torch.int32)
    score = torch.cat([row.side.score for row in rows], 1) if scored else None  # pyright: ignore
    side = Side(grids=((3, 4), (1, 3), (4, 4)), prefix=1, cu_seqlens=ends, score=score)
    packed = Tokens(torch.cat([row.x for row in rows], 1), side)
    with torch.no_grad():
        alone, together, padded = [stage(row) for row in rows], stage(packed), stage(packed.padded())
    for name in ("x", "side.score"):
        made = together.x if name == "x" else together.side.score[..., None]
        wanted = torch.cat([one.x if name == "x" else one.side.score[..., None] for one in alone], 1)
        torch.testing.assert_close(made, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.packed().x, together.x, rtol=0, atol=1e-12)


def test_every_parameter_gets_a_gradient_and_scores_pass_one_on():
    stage, tokens = of(), tokens_on(3, 4, scored=True)
    assert tokens.side.score is not None
    score = tokens.side.score.requires_grad_()
    stage.train()(tokens.replace(score=score)).x.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in stage.parameters())
    assert score.grad is not None
    assert score.grad.any()


def test_features_are_what_the_blocks_up_to_there_make():
    stage, tokens = of(), tokens_on(3, 4)
    shorter = of(2)
    shorter.load_state_dict({k: v for k, v in stage.state_dict().items() if ".2." not in k})
    with torch.no_grad():
        before, second, last = stage.features(tokens, [0, 2, 3])
        assert before is tokens
        assert torch.equal(second.x, shorter(tokens).x)
        assert torch.equal(second.side.score, shorter(tokens).side.score)
        assert torch.equal(last.x, stage(tokens).x)
    for depths in ([4], [2, 1], [-1]):
        with pytest.raises(ValueError, match=r"depths must ascend within 0\.\.3"):
            stage.features(tokens, depths)


def test_half_precision_keeps_its_scores_in_single():
    stage: Any = of(2).to(torch.bfloat16)
    made = stage(Tokens(torch.randn(1, 7, 8, dtype=torch.bfloat16), Side(grid=(2, 3), prefix=1)))
    assert (made.x.dtype, made.side.score.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"blocks": ()}, "at least one part"),
        ({"kept": 1.5}, "kept is a share from 0 to 1, not 1.5"),
        ({"trade_off": -0.5}, "trade_off is a share from 0 to 1, not -0.5"),
        ({"blocks": (BLOCK.replace(layout="post"),)}, "must be of the kind Block, pre-norm"),
        ({"blocks": (POSITION,)}, "must be of the kind Block, pre-norm"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Hourglass(8, **{"blocks": (BLOCK,), **options})


def test_other_than_one_prefix_token_a_missing_lattice_and_a_mask_are_refused():
    stage, x = of(), torch.randn(1, 7, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="one class token in front of the lattice is needed here, not 0"):
        stage(Tokens(x, Side(grid=(7, 1))))
    with pytest.raises(ValueError, match="needed here and not set"):
        stage(Tokens(x, Side(prefix=1)))
    with pytest.raises(ValueError, match="mask"):
        stage(Tokens(x, Side(grid=(2, 3), prefix=1, mask=torch.ones(7, 7, dtype=torch.bool))))
