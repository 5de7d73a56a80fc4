"""TNT sizes against the published counts, and the limits in which words and sentences keep apart."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.multiply_adds import multiply_adds
from unimodal.part import Part
from unimodal.recipes.pre_norm import pre_norm
from unimodal.recipes.tnt import tnt
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens


def small(image: int = 64, **changes: Any) -> Any:
    torch.manual_seed(0)
    return tnt(image=image, widths=(24, 3), heads=(3, 1), depth=2, **changes)().double().eval()


def pixels(rows: int, columns: int, images: int = 1) -> Batch:
    return Batch("image", torch.randn(images, 3, rows, columns, dtype=torch.float64))


@pytest.mark.parametrize("size, count", [("small", 23_768_584), ("base", 65_428_680)])
def test_sizes_have_the_published_parameter_counts(size, count):
    with torch.device("meta"):
        model: Any = tnt(size, classes=1000)()
    width, own_row = model.transformer.norm.width, model.prefix.tokens.shape[1]
    room = own_row - width
    assert sum(p.numel() for p in model.parameters()) + width - room == count  # a folded row; room without words


def test_tiny_has_6_million_parameters_as_in_the_paper():
    with torch.device("meta"):
        assert round(sum(p.numel() for p in tnt("tiny", classes=1000)().parameters()) / 1e6, 1) == 6.1


@pytest.mark.parametrize("size, billions", [("small", 5.217), ("base", 14.049)])
def test_a_picture_of_224_px_costs_the_published_multiply_adds(size, billions):
    with torch.device("meta"):
        model = tnt(size, classes=1000)().eval()
        counted = multiply_adds(model.embed, Batch("image", torch.zeros(1, 3, 224, 224)))
    assert counted / 1e9 == pytest.approx(billions, rel=0.01)


def test_before_the_first_outer_block_a_pixel_changes_its_own_sentence_only():
    model, batch, seen = small(), pixels(64, 64), []
    assert isinstance(batch.data, torch.Tensor)
    model.transformer.blocks[0].outer.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    changed = batch.data.clone()
    changed[..., 31, 32] += 1.0  # patch row 1, column 2, at its border
    model(batch)
    model(Batch("image", changed))
    assert (seen[0] != seen[1]).any(-1).nonzero().tolist() == [[1 + 4 * 1 + 2]]


def test_words_that_tell_nothing_leave_a_plain_vision_transformer():
    model, batch = small(), pixels(64, 48, 2)
    core: Any = pre_norm(depth=2, heads=3, hidden=96, eps=1e-5, qkv_bias=False)(24).double().eval()
    for block, plain in zip(model.transformer.blocks, core.blocks, strict=True):
        for tensor in (block.to_sentence.weight, block.norm_told.weight, block.norm_told.bias):
            nn.init.zeros_(tensor)
        plain.load_state_dict(block.outer.state_dict())
    core.norm.load_state_dict(model.transformer.norm.norm.state_dict())
    tokens = model.tokenize(batch)
    expected = core(tokens.replace(tokens.x[..., :24])).x
    torch.testing.assert_close(model(batch).x[..., :24], expected, rtol=0, atol=1e-12)
    assert torch.equal(model.embed(batch), model(batch).x[:, 0, :24])


def test_patches_that_change_places_with_their_positions_change_places_in_the_output():
    model, batch = small(), pixels(64, 64)
    assert isinstance(batch.data, torch.Tensor)
    order = torch.randperm(16)
    patches = batch.data.unfold(2, 16, 16).unfold(3, 16, 16).flatten(2, 3)[:, :, order]  # (1, 3, 16, 16, 16)
    moved = patches.unflatten(2, (4, 4)).permute(0, 1, 2, 4, 3, 5).reshape(1, 3, 64, 64)
    before = model(batch).x
    table = model.positions["image"].position.table
    table.data = table.data[order]
    after = model(Batch("image", moved)).x
    torch.testing.assert_close(after[:, 1:], before[:, 1:][:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(after[:, 0], before[:, 0], rtol=0, atol=1e-12)


def test_another_size_resamples_the_positions_of_patches_and_keeps_those_of_words():
    model = small()
    words = model.tokenizers["image"].stem.position.table.clone()
    for rows, columns in ((96, 96), (32, 80)):
        tokens = model(pixels(rows, columns))
        assert tokens.side.grid == (rows // 16, columns // 16)
        assert tokens.x.isfinite().all()
    assert torch.equal(model.tokenizers["image"].stem.position.table, words)


def test_what_is_carried_for_words_is_linear_in_the_pixels():
    model, sizes = small(), []
    hook = model.transformer.blocks[0].inner.register_forward_hook(lambda *given: sizes.append(given[2].numel()))
    for edge in (32, 64, 128):
        model.transformer(Tokens(model.tokenize(pixels(edge, edge, 2)).x, Side(prefix=1)))
        patches, words, inner = (edge // 16) ** 2 + 1, 16, 3  # the class token has room for words too
        assert sizes[-1] == 2 * patches * words * inner
    hook.remove()


def test_pictures_of_several_sizes_in_one_batch_are_each_as_alone():
    model = small()
    batch = Batch("image", tuple(pixels(rows, columns).data[0] for rows, columns in ((64, 64), (32, 48), (16, 16))))
    together = model.embed(batch)
    alone = torch.cat([model.embed(Batch("image", one[None])) for one in batch.data])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_it_is_a_part_that_round_trips():
    part = tnt("small", classes=3, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part


def test_an_unknown_size_and_an_image_that_patches_do_not_fill_are_refused():
    with pytest.raises(ValueError, match="size must be one of tiny, small, base"):
        tnt("large")
    with pytest.raises(ValueError, match="multiple of patch 16 px, not 230"):
        tnt(image=230)
