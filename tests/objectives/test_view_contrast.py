"""The objective ``view_contrast`` against its equation, and what a view keeps."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.block import Block
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.objectives.view_contrast import ViewContrast
from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer


def model(prefix: int = 0) -> Any:
    return Model(
        12,
        tokenizers={"image": Part(Image, stem=Part(PatchStem, patch=4), size=None, fit="native")},
        transformer=Part(Transformer, depth=1, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=None)),
        prefix=prefix,
        readout=Part(Mean),
    )


def test_it_equals_the_equation():
    built, objective = model().double(), ViewContrast(12, keep=1.0, temperature=0.5).double()
    batch = Batch("image", torch.randn(3, 3, 8, 12, dtype=torch.float64))
    z = objective.project(built.embed(batch))
    z = [row / row.norm() for row in torch.cat([z, z]).detach()]  # with all tokens kept both views are the same
    total = 0.0
    for i in range(6):
        against = sum(math.exp(float(z[i] @ z[k]) / 0.5) for k in range(6) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[(i + 3) % 6]) / 0.5) / against)
    assert objective(built, batch).item() == pytest.approx(total / 6, abs=1e-6)


@pytest.mark.parametrize("prefix", [0, 2])
def test_a_view_is_the_stated_share_of_each_sequence_in_order_behind_its_prefix(prefix):
    lengths = torch.tensor([prefix + 8, prefix + 1, prefix + 5])
    x = torch.arange(3 * 12.0).view(3, 12, 1).expand(-1, -1, 4)
    tokens = Tokens(x, Side(prefix=prefix, lengths=lengths, positions=x[..., :2]))
    view = ViewContrast(4, keep=0.5).view(tokens)
    assert view.sequence_lengths() == [prefix + 4, prefix + 1, prefix + 2]
    for row, whole in zip(view.split(), tokens.split(), strict=True):
        assert set(row[:, 0].tolist()) <= set(whole[:, 0].tolist())
        assert (row[:, 0].diff() > 0).all()
        assert torch.equal(row[:prefix], whole[:prefix])
    assert isinstance(view.side.positions, Tensor)
    assert torch.equal(view.side.positions, view.x[..., :2])


def test_views_are_drawn_anew():
    tokens, objective = Tokens(torch.randn(1, 40, 4), Side()), ViewContrast(4)
    assert not torch.equal(objective.view(tokens).x, objective.view(tokens).x)


def test_training_with_it_brings_views_of_one_input_together():
    torch.manual_seed(0)
    built, objective = model(), ViewContrast(12)
    pictures = torch.stack([torch.randn(3, 1, 1) + 0.3 * torch.randn(3, 16, 16) for _ in range(16)])
    batch = Batch("image", pictures)
    optimizer = torch.optim.Adam([*built.parameters(), *objective.parameters()], lr=3e-3)
    losses = []
    for _ in range(60):
        loss = objective(built, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.5 * losses[0]


def test_wrong_settings_and_a_batch_of_one_are_refused():
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"keep": 0.0}, "keep is a share"),
        ({"temperature": 0.0}, "temperature must"),
    )
    for settings, cause in wrong:
        with pytest.raises(ValueError, match=cause):
            ViewContrast(4, **settings)
    with pytest.raises(ValueError, match="a batch of one input"):
        ViewContrast(12)(model(), Batch("image", torch.randn(1, 3, 8, 8)))
    bare = model()
    bare.readout = None
    with pytest.raises(ValueError, match="no readout"):
        ViewContrast(12)(bare, Batch("image", torch.randn(2, 3, 8, 8)))
