"""Projected views: which cell of which view each token is in, means, what turning the cloud does, and refusals."""

from typing import Any

import pytest
import torch

from unimodal.ffns.plain import Plain
from unimodal.mixers.depthwise import Depthwise
from unimodal.part import Part
from unimodal.projected_views import ProjectedViews
from unimodal.residual import Residual
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

CORE = Part(Transformer, depth=1, blocks=Part(Residual, branch=(Part(Depthwise), Part(Plain))))


def built(dim: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    return ProjectedViews(dim, **{"core": CORE, "size": 4, **options}).double().eval()


def cloud(rows: int = 2, count: int = 30) -> Any:
    places = torch.rand(rows, count, 3, dtype=torch.float64) * 2 - 1
    return Tokens(torch.randn(rows, count, 3, dtype=torch.float64), Side(positions=places, modality="point_cloud"))


def test_a_cell_is_the_mean_of_the_tokens_that_are_projected_to_it():
    tokens = cloud()
    made = built().views(tokens)
    assert made.side.grid == (4, 12)
    for b in range(2):
        for v, (first, second) in enumerate(((0, 1), (1, 2), (2, 0))):
            for r in range(4):
                for c in range(4):
                    inside = [
                        x
                        for x, p in zip(tokens.x[b], tokens.side.positions[b], strict=True)
                        if r <= 2 * (p[first] + 1) < r + 1 and c <= 2 * (p[second] + 1) < c + 1
                    ]
                    expected = sum(inside) / len(inside) if inside else torch.zeros(3, dtype=torch.float64)
                    torch.testing.assert_close(made.x[b, 12 * r + 4 * v + c], expected)


def test_tokens_with_a_cell_of_their_own_are_found_again_exactly():
    places = torch.tensor([[[-0.75, -0.25, 0.25], [0.25, 0.75, -0.75], [0.75, 0.25, 0.75]]], dtype=torch.float64)
    tokens = Tokens(torch.randn(1, 3, 3, dtype=torch.float64), Side(positions=places))
    map_ = built().views(tokens).x.view(4, 3, 4, 3)
    for n, (i, j, k) in enumerate(((0, 1, 2), (2, 3, 0), (3, 2, 3))):
        for v, (r, c) in enumerate(((i, j), (j, k), (k, i))):
            assert torch.equal(map_[r, v, c], tokens.x[0, n])
    assert int((map_ != 0).any(-1).sum()) == 9


def test_renaming_the_axes_in_a_circle_moves_each_view_to_the_next():
    views, tokens = built(), cloud()
    turned = tokens.replace(positions=tokens.side.positions.roll(1, -1))
    before, after = (views.views(t).x.view(2, 4, 3, 4, 3) for t in (tokens, turned))
    torch.testing.assert_close(after, before.roll(1, 2))


def test_the_order_of_tokens_does_not_matter_and_places_outside_are_in_the_nearest_cell():
    views, tokens = built(), cloud()
    order = torch.randperm(30)
    shuffled = Tokens(tokens.x[:, order], Side(positions=tokens.side.positions[:, order]))
    torch.testing.assert_close(views.views(shuffled).x, views.views(tokens).x)
    far = Tokens(tokens.x[:1, :1], Side(positions=torch.tensor([[[9.0, -9.0, 1.0]]], dtype=torch.float64)))
    assert torch.equal(views.views(far).x.view(4, 3, 4, 3)[3, 0, 0], far.x[0, 0])


def test_padding_and_prefix_are_not_seen_and_packed_is_padded():
    views, tokens = built(), cloud()
    lengths = torch.tensor([30, 12])
    padded = Tokens(tokens.x, Side(positions=tokens.side.positions, lengths=lengths))
    alone = Tokens(tokens.x[1:, :12], Side(positions=tokens.side.positions[1:, :12]))
    for layout in (padded, padded.packed()):
        torch.testing.assert_close(views.views(layout).x[1], views.views(alone).x[0])
    after = tokens.replace(torch.cat([tokens.x[:, :2] + 9.0, tokens.x[:, 2:]], 1), prefix=2)
    assert torch.equal(views.views(after).x, views.views(tokens.replace(prefix=2)).x)


def test_the_core_reads_the_map():
    views, tokens = built(), cloud()
    assert torch.equal(views(tokens).x, views.core(views.views(tokens)).x)
    assert views.width == 3


def test_gradients_reach_the_tokens():
    views, tokens = built(), cloud(1, 5)
    x = tokens.x.requires_grad_()
    assert torch.autograd.gradcheck(lambda t: views(tokens.replace(t)).x, x)


def test_it_round_trips():
    part = Part(ProjectedViews, core=CORE)
    assert Part.from_json(part.to_json()) == part


def test_a_size_of_zero_is_refused():
    with pytest.raises(ValueError, match="size must be positive, not 0"):
        built(size=0)


@pytest.mark.parametrize("side, said", [(Side(), "have none"), (Side(positions=torch.ones(1, 4, 2)), "2 coordinates")])
def test_tokens_without_places_in_space_are_refused(side, said):
    with pytest.raises(ValueError, match=f"three coordinates, and the tokens have .*{said.removeprefix('have ')}"):
        built()(Tokens(torch.randn(1, 4, 3, dtype=torch.float64), side))


def test_causal_order_is_refused():
    with pytest.raises(ValueError, match="causal"):
        built()(cloud().replace(causal=True))
