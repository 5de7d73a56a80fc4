import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.errors import InputError
from unimodal.recipes.pre_norm import pre_norm
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.recipes.unireplknet import unireplknet
from unimodal.recipes.vit import vit
from unimodal.recipes.vit_comer import vit_comer
from unimodal.sample import Batch
from unimodal.task import load_task
from unimodal.tasks.parts.dense_head import DenseHead
from unimodal.tasks.parts.segments import SegmentPrediction, distinct_colours
from unimodal.tasks.segmentation import Segmentation
from unimodal.windows import join_windows, split_windows

CLASSES = ("sky", "road", "car")


@pytest.fixture
def task():
    encoder = small_image_encoder(dim=32, depth=2, heads=2, widths=(8, 16))().eval()
    return Segmentation(Segmentation.build(encoder, classes=CLASSES, size=(64, 64)).eval())


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def on_pyramid(**options):
    encoder = unireplknet("a", layer_scale=None)().eval()
    return Segmentation(Segmentation.build(encoder, classes=CLASSES, size=(96, 96), **options).eval())


@pytest.mark.parametrize("size", [(64, 48), (90, 41), (33, 71), (7, 5)])
def test_every_pixel_of_the_picture_gets_a_class_on_a_pyramid_too(size):
    task = on_pyramid()
    assert task.module.depths == (1, 2, 3, 4)
    assert task.predict([task.read(picture(*size))])[0].labels.shape == (size[1], size[0])


def test_a_plain_encoder_with_a_pyramid_beside_it_is_a_pyramid():
    plain = vit("tiny").replace(transformer=pre_norm(depth=4, heads=3, hidden=64))
    encoder = vit_comer(encoder=plain)().eval()
    task = Segmentation(Segmentation.build(encoder, classes=("a", "b"), size=(64, 64)).eval())
    assert task.module.options["depths"] == [1, 2, 3, 4]
    [prediction] = task.predict([task.read(np.zeros((50, 70, 3), np.uint8))])
    assert prediction.labels.shape == (50, 70)
    both = Segmentation.build(encoder, classes=("a", "b"), size=(64, 64), depths=(0, 1))
    assert both.features(Batch("image", torch.zeros(1, 3, 64, 96))).shape[2:] == (16, 24)


@pytest.mark.parametrize("depths", [(1, 2, 3, 4), (2, 4), (0, 3)])
def test_stages_of_a_pyramid_lie_side_by_side_on_the_finest_of_their_lattices(depths):
    task = on_pyramid(depths=depths)
    batch = task.tokenizer.collate([task.read(picture(96, 72))])
    features, levels = task.module.features(batch), task.module.encoder.features(batch, depths)
    grids: Any = [level.side.grid for level in levels]
    widths, (rows, columns) = [level.x.shape[-1] for level in levels], grids[0]
    assert features.shape == (1, sum(widths), rows, columns)
    assert task.module.head(features).shape == (1, 3, rows, columns)
    for own, level, grid in zip(features.split(widths, 1), levels, grids, strict=True):
        cells = level.x.mT.unflatten(-1, grid)
        expected = torch.nn.functional.interpolate(cells, size=(rows, columns), mode="bilinear")
        torch.testing.assert_close(own, expected)
    first = features[:, : widths[0]].flatten(2).mT
    assert torch.equal(first, levels[0].x)


def test_the_head_on_a_pyramid_learns_and_is_built_again_from_its_options():
    task = on_pyramid()
    task.module.train()
    task.loss([task.read(picture(64, 48))], [np.ones((48, 64), np.uint8)]).backward()
    assert all(p.grad is None for p in task.module.encoder.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.module.head.parameters())
    again = Segmentation.build(task.module.encoder, **task.module.options)
    assert again.head.state_dict().keys() == task.module.head.state_dict().keys()


def test_the_shipped_weights_see_windows_of_one_lattice_as_before():
    module = load_task("segmentation").module
    pixels = Batch("image", torch.randint(0, 256, (1, 3, 72, 104), dtype=torch.uint8))
    with torch.inference_mode():
        tokens = module.encoder.tokenizer("image")(pixels)
        placed = module.encoder.place(split_windows(tokens, module.window), "image")
        levels = module.encoder.transformer.features(placed, module.depths)
        expected = join_windows(torch.cat([x.lattice().x for x in levels], -1), module.window, tokens.side.grid)
        assert torch.equal(module.features(pixels), expected)


@pytest.mark.parametrize("size", [(64, 48), (200, 90), (33, 71), (7, 5)])
def test_every_pixel_of_the_picture_gets_a_class_in_the_pictures_own_size(task, size):
    prediction = task.predict([task.read(picture(*size))])[0]
    assert prediction.labels.shape == (size[1], size[0])
    assert prediction.labels.dtype == np.uint8
    assert prediction.labels.max() < len(CLASSES)
    assert sum(prediction.shares().values()) == pytest.approx(1)


def test_a_picture_does_not_depend_on_its_neighbours(task):
    samples = [task.read(picture(80, 60, seed)) for seed in range(3)] + [task.read(picture(50, 90))]
    together = task.predict(samples)
    for sample, among_others in zip(samples, together, strict=True):
        assert np.array_equal(task.predict([sample])[0].labels, among_others.labels)


def test_pixels_outside_a_window_do_not_change_the_cores_features_in_it(task):
    sample = task.read(picture(128, 96))
    batch = task.tokenizer.collate([sample])
    before = task.module.features(batch)
    changed = batch.data.clone()
    changed[..., 48:] = 255 - changed[..., 48:]  # windows are 32 px; the stem sees a few px across their border
    after = task.module.features(type(batch)("image", changed, batch.records))
    assert torch.equal(before[..., :8], after[..., :8])
    assert not torch.equal(before[..., 12:], after[..., 12:])


def test_the_mask_file_holds_indices_and_the_overlay_the_colours(task, tmp_path):
    path = tmp_path / "scene.png"
    picture(60, 40).save(path)
    labels = np.zeros((40, 60), np.uint8)
    labels[20:] = 1
    prediction = SegmentPrediction("scene", labels, CLASSES, [(0, 0, 255), (255, 0, 0), (0, 255, 0)], path, 10**8)
    mask, overlay = prediction.save(tmp_path, "scene-result")
    with Image.open(mask) as saved:
        assert saved.mode == "P"
        assert np.array_equal(np.asarray(saved), labels)
        assert saved.convert("RGB").getpixel((0, 39)) == (255, 0, 0)
    source, mixed = (np.asarray(Image.open(f).convert("RGB")).astype(int) for f in (path, overlay))
    assert np.abs(mixed[35, 30] - (source[35, 30] + (255, 0, 0)) / 2).max() < 25  # JPEG
    rendered = prediction.render()
    assert [name for _, name in rendered["segments"][1]] == ["sky", "road"]
    assert rendered["classes"] == {"sky": 0.5, "road": 0.5}
    assert prediction.to_json()["shares"] == [{"label": "sky", "share": 0.5}, {"label": "road", "share": 0.5}]


def test_a_large_picture_is_shown_at_screen_size_with_its_mask(tmp_path):
    labels = np.zeros((1500, 3000), np.uint8)
    shown, masks = SegmentPrediction("x", labels, ("a",), [(1, 2, 3)], picture(3000, 1500), 10**8).render()["segments"]
    assert shown.size == (1280, 640)
    assert masks[0][0].shape == (640, 1280)


def test_void_pixels_have_no_influence_on_loss_and_score(task):
    sample = task.read(picture(64, 48))
    labels = np.zeros((48, 64), np.uint8)
    labels[:10] = 255
    changed = picture(64, 48)
    wrong = labels.copy()
    wrong[:10] = 200
    assert torch.equal(task.loss([sample], [labels]), task.loss([sample], [wrong]))
    score = task.metrics()["pixel_accuracy"]
    prediction = task.predict([task.read(changed)])[0]
    score.update(prediction, labels)
    assert score.compute() == pytest.approx((prediction.labels[10:] == 0).mean())


def test_the_loss_is_the_weighted_cross_entropy_of_the_upsampled_scores():
    encoder = small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))().eval()
    module = Segmentation.build(encoder, classes=CLASSES, weights=(1.0, 2.0, 0.5), size=(32, 32)).eval()
    task = Segmentation(module)
    sample = task.read(picture(32, 32))
    labels = np.random.default_rng(0).integers(0, 3, (32, 32)).astype(np.uint8)
    with torch.no_grad():
        cells = module(task.tokenizer.collate([sample]))
        scores = torch.nn.functional.interpolate(cells, size=(32, 32), mode="bilinear")
        log_p = scores[0].log_softmax(0).double()
    total = weight_sum = 0.0
    for y in range(32):
        for x in range(32):
            w = (1.0, 2.0, 0.5)[labels[y, x]]
            total -= w * log_p[labels[y, x], y, x].item()
            weight_sum += w
    assert task.loss([sample], [labels]).item() == pytest.approx(total / weight_sum, rel=1e-5)


def test_only_the_head_gets_a_gradient(task):
    task.module.train()
    task.loss([task.read(picture(64, 48))], [np.ones((48, 64), np.uint8)]).backward()
    assert all(p.grad is None for p in task.module.encoder.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.module.head.parameters())
    assert not task.module.encoder.training


def test_labelled_pairs_come_from_folders_and_bad_ones_are_named(task, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    picture(20, 10).save(tmp_path / "images" / "a.jpg")
    with pytest.raises(InputError, match="has no mask"):
        task.labelled(tmp_path)
    picture(20, 10).save(tmp_path / "masks" / "a.png")
    pairs = task.labelled(tmp_path)
    with pytest.raises(InputError, match="mode RGB, not a label map"):
        task.loss([task.read(pairs[0][0])], [pairs[0][1]])
    file = io.BytesIO()
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(file, "PNG")
    (tmp_path / "masks" / "a.png").write_bytes(file.getvalue())
    assert task.loss([task.read(pairs[0][0])], [pairs[0][1]]).isfinite()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": ()}, "classes must be"),
        ({"classes": ("a", "a")}, "classes must be"),
        ({"classes": ("a", "b"), "colours": [(0, 0, 0)]}, "colours must have one entry a class"),
        ({"classes": ("a", "b"), "weights": [1.0]}, "weights must have one entry a class"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Segmentation.build(small_image_encoder(dim=32, depth=1, heads=2, widths=(8, 16))(), **options)


def test_stages_that_a_pyramid_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"depths must be within 0\.\.4, not \(1, 5\)"):
        on_pyramid(depths=(1, 5))


def test_the_head_knows_the_place_of_a_cell():
    torch.manual_seed(0)
    head = DenseHead(4, 3, width=8, dilations=())
    scores = head(torch.ones(1, 4, 5, 6))
    assert scores.shape == (1, 3, 5, 6)
    assert not torch.allclose(scores[..., 0, 0], scores[..., 2, 3])


def test_colours_are_distinct_for_a_hundred_classes():
    assert len(set(distinct_colours(100))) == 100
