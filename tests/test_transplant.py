"""Transplant: whose weights a guided model has, and which of them training moves."""

import copy

import pytest
import torch

from unimodal.part import Part
from unimodal.positions.sincos import SinCos
from unimodal.recipes.any2point import any2point
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.sample import Batch
from unimodal.transplant import transplant

SOURCE = small_image_encoder(dim=24, depth=2, heads=2, widths=(6,))
TRAINED = ("tokenizers.", "prefix.", "transformer.attend.", "transformer.aggregations.", "transformer.source.prefix")


@pytest.fixture
def pair():
    source = SOURCE()
    model = any2point(SOURCE, points=32, groups=8, neighbours=6)()
    return model, source, transplant(model, source)


def clouds(count=4):
    return Batch("point_cloud", torch.randn(count, 32, 3))


def test_the_source_is_copied_and_not_shared(pair):
    model, source, _ = pair
    core = model.transformer.source.core
    for ours, theirs in zip(core.blocks, source.transformer.blocks, strict=True):
        assert torch.equal(ours.mixer.to_qkv.weight, theirs.mixer.to_qkv.weight)
        assert torch.equal(ours.ffn.ffn.to_out.weight, theirs.ffn.to_out.weight)
        assert ours.mixer.to_qkv.weight is not theirs.mixer.to_qkv.weight
    assert torch.equal(model.transformer.source.position.table, source.positions["image"].table)
    assert all(parameter.requires_grad for parameter in source.parameters())


def test_trained_is_what_stands_around_the_source_and_its_last_norm(pair):
    model, _, trained = pair
    for name, parameter in model.named_parameters():
        own = name.removeprefix("transformer.source.core.")
        of_block = own.partition(".")[2].partition(".")[2] if own.startswith("blocks.") else ""
        around = name.startswith((*TRAINED, "transformer.source.core.norm."))
        assert parameter.requires_grad == (around or of_block.startswith(("ffn.to_hidden", "ffn.to_out"))), name
        assert parameter.requires_grad == (name in trained)


def test_frozen_tensors_are_the_same_bits_after_training_and_all_others_moved(pair):
    model, source, trained = pair
    before = copy.deepcopy(model.state_dict())
    original = copy.deepcopy(source.state_dict())
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2, weight_decay=0.05)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        model.embed(clouds()).square().sum().backward()
        optimizer.step()
    after = model.state_dict()
    for name in trained:
        assert not torch.equal(after[name], before[name]), name
    frozen = set(dict(model.named_parameters())) - set(trained) | {"transformer.source.position.table"}
    assert len(frozen) == 2 * 12 + 1
    for name in frozen:
        assert torch.equal(after[name], before[name]), name
    assert all(torch.equal(tensor, original[name]) for name, tensor in source.state_dict().items())


def test_a_source_without_a_table_is_refused(pair):
    source = SOURCE.replace(positions={"image": Part(SinCos)})()
    with pytest.raises(ValueError, match="the source must have one learned position table, not 0"):
        transplant(pair[0], source)


@pytest.mark.parametrize("depth, grid", [(3, (8, 8)), (2, (4, 4))])
def test_a_source_of_another_size_is_refused(pair, depth, grid):
    positions = {"image": SOURCE.kwargs["positions"]["image"].replace(grid=grid)}
    source = SOURCE.replace(transformer=SOURCE.kwargs["transformer"].replace(depth=depth), positions=positions)()
    with pytest.raises(ValueError, match=rf"the model has 2 blocks and a table \(64, 24\), the source {depth}"):
        transplant(pair[0], source)


def test_a_source_with_other_blocks_is_refused(pair):
    core = SOURCE.kwargs["transformer"]
    wider = core.replace(blocks=core.kwargs["blocks"].replace(layer_scale=0.1))
    with pytest.raises(ValueError, match=r"do not fit the model: without \[\], left over .*scale_mixer"):
        transplant(pair[0], SOURCE.replace(transformer=wider)())
    ffn = core.kwargs["blocks"].kwargs["ffn"].replace(hidden=7)
    with pytest.raises(ValueError, match=r"do not fit the model: [\s\S]*size mismatch"):
        transplant(pair[0], SOURCE.replace(transformer=core.replace(blocks=core.kwargs["blocks"].replace(ffn=ffn)))())
