"""Three tasks from one panoptic map, their texts, and the contrast of queries and texts; transformers' OneFormer."""

from types import SimpleNamespace

import pytest
import torch

from unimodal.tasks.parts.query_text_contrast import QueryTextContrast
from unimodal.tasks.parts.task_objects import TASKS, task_objects, task_texts

NAMES, THINGS = ("sky", "cat", "road", "dog"), {1, 3}
# Two cats, a dog, sky in two segments; 0 is void, and the road lies outside the picture.
SEGMENTS = torch.tensor([[7, 7, 0, 9], [1, 1, 2, 2], [3, 3, 3, 0]])
CLASSES = {7: 0, 9: 0, 1: 1, 2: 1, 3: 3, 5: 2}


def of(task):
    return task_objects(SEGMENTS, CLASSES, task=task, things=THINGS)


def areas(task):
    objects = of(task)
    assert objects.masks is not None
    return sorted(zip(objects.classes.tolist(), objects.masks.sum((1, 2)).tolist(), strict=True))


def test_each_task_has_its_own_masks_of_the_same_map():
    assert areas("semantic") == [(0, 3), (1, 4), (3, 3)]
    assert areas("instance") == [(1, 2), (1, 2), (3, 3)]
    assert areas("panoptic") == [(0, 1), (0, 2), (1, 2), (1, 2), (3, 3)]


def test_texts_name_every_object_and_are_filled_up_with_the_task():
    sky, cat, dog = ("a photo with a " + word for word in ("sky", "cat", "dog"))
    assert task_texts(of("semantic"), NAMES, task="semantic", count=5) == [sky, cat, dog, *["a semantic photo"] * 2]
    assert task_texts(of("instance"), NAMES, task="instance", count=4) == [cat, cat, dog, "an instance photo"]
    assert task_texts(of("panoptic"), NAMES, task="panoptic", count=6) == [sky, sky, cat, cat, dog, "a panoptic photo"]
    assert task_texts(of("panoptic"), NAMES, task="panoptic", count=2) == [sky, sky]


@pytest.mark.parametrize("task", TASKS)
def test_a_map_of_void_has_no_objects_and_texts_of_the_task_alone(task):
    objects = task_objects(torch.zeros(2, 3, dtype=torch.int64), CLASSES, task=task, things=THINGS)
    assert objects.masks is not None
    assert objects.masks.shape == (0, 2, 3)
    assert len(set(task_texts(objects, NAMES, task=task, count=3))) == 1


@pytest.mark.parity
@pytest.mark.parametrize("task", TASKS)
def test_masks_and_texts_are_those_of_transformers(task):
    module = pytest.importorskip("transformers.models.oneformer.image_processing_oneformer")
    metadata = {**{str(i): name for i, name in enumerate(NAMES)}, "class_names": NAMES, "thing_ids": sorted(THINGS)}
    self = SimpleNamespace(num_text=7, metadata=metadata)
    ids = [i for i in SEGMENTS.unique().tolist() if i]
    masks = torch.stack([SEGMENTS.eq(i).float() for i in ids])
    label = {"masks": masks, "classes": torch.tensor([CLASSES[i] for i in ids])}
    derive = getattr(module.OneFormerImageProcessor, f"get_{task}_annotations")
    classes, wanted, texts = derive(self, label, dict.fromkeys(NAMES, 0))
    ours = of(task)
    assert ours.masks is not None
    pairs = sorted(zip(ours.classes.tolist(), ours.masks.float().flatten(1).tolist(), strict=True))
    assert pairs == sorted(zip(classes.tolist(), wanted.flatten(1).tolist(), strict=True))
    assert task_texts(ours, NAMES, task=task, count=7) == [t.replace("an panoptic", "a panoptic") for t in texts]


@pytest.mark.parity
def test_the_contrast_and_its_gradients_are_those_of_transformers():
    module = pytest.importorskip("transformers.models.oneformer.modeling_oneformer")
    theirs = module.OneFormerLoss(3, None, {}, 0.1, 8, 3.0, 0.75, contrastive_temperature=0.07)
    ours = QueryTextContrast(weight=0.5)
    queries, texts = torch.randn(4, 5, 6, requires_grad=True), torch.randn(4, 5, 6, requires_grad=True)
    made = ours(queries, texts)
    expected = 0.5 * theirs.loss_contrastive(queries, texts)["loss_contrastive"]
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)
    own = torch.autograd.grad(made, [queries, texts, ours.log_scale])
    for mine, other in zip(own, torch.autograd.grad(expected, [queries, texts, theirs.logit_scale]), strict=True):
        torch.testing.assert_close(mine, other.to(mine), rtol=1e-5, atol=1e-6)


def test_the_contrast_has_the_gradients_of_its_value_and_stops_at_the_sharpest():
    torch.manual_seed(1)
    contrast = QueryTextContrast(temperature=0.5).double()
    queries, texts = (torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(contrast, (queries, texts))
    sharp, sharper = QueryTextContrast(temperature=0.01).double(), QueryTextContrast(temperature=0.001).double()
    torch.testing.assert_close(sharp(queries, texts), sharper(queries, texts))
    assert contrast(queries[:1], texts[:1]).item() == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="task must be one of semantic, instance, panoptic, not 'depth'"):
        of("depth")
    with pytest.raises(ValueError, match="task must be one of"):
        task_texts(of("panoptic"), NAMES, task="depth", count=3)
    with pytest.raises(ValueError, match="count must be at least 1"):
        task_texts(of("panoptic"), NAMES, task="panoptic", count=0)
    with pytest.raises(ValueError, match="must have one shape"):
        QueryTextContrast()(torch.zeros(2, 3, 4), torch.zeros(2, 2, 4))
    with pytest.raises(ValueError, match="temperature must be positive"):
        QueryTextContrast(temperature=0)
