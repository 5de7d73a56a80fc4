"""The task ``classification``: its contract, its probabilities, and the data sets that it reads and refuses."""

import pytest
import torch

from unimodal.catalog import catalog
from unimodal.errors import InputError
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.task import load_task
from unimodal.tasks.classification import Classification
from unimodal.testing import check_task


@pytest.fixture
def task(classifier):
    return load_task("classification", classifier)


@pytest.fixture
def samples(task, coloured_shapes):
    return [task.read(coloured_shapes / "test" / colour / "0.png") for colour in ("red", "green", "blue")]


def test_the_contract_holds(coloured_shapes):
    names = check_task("classification", data=coloured_shapes / "test")
    assert "the_loss_trains_all_but_the_encoder" in names
    assert "halves_of_metrics_merge_to_the_whole" in names


def test_probabilities_are_the_softmax_of_the_head_on_the_embedding_likeliest_first(task, samples):
    module = task.module
    embedded_BD = module.encoder.embed(task.tokenizer.collate(samples))
    expected_BK = (embedded_BD @ module.head.weight.T + module.head.bias).softmax(-1)
    for prediction, p_K in zip(task.predict(samples), expected_BK, strict=True):
        by_name = dict(prediction.ranked)
        for name, p in zip(task.classes, p_K.tolist(), strict=True):
            assert by_name[name] == pytest.approx(p, rel=1e-5)
        values = [p for _, p in prediction.ranked]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=1e-5)


def test_it_tells_the_colours_of_shapes_it_has_not_seen(task, samples):
    predictions = task.predict(samples)
    assert [p.to_json()["label"] for p in predictions] == ["red", "green", "blue"]
    assert predictions[0].render() == {"classes": dict(predictions[0].ranked)}
    assert [len(p.to_json()["top"]) for p in predictions] == [3, 3, 3]


def test_no_samples_give_no_predictions(task):
    assert task.predict([]) == []


def test_the_loss_is_the_cross_entropy_of_the_targets(task, samples):
    logits_BK = task.module(task.tokenizer.collate(samples))
    wanted_B = torch.tensor([task.classes.index(name) for name in ("red", "red", "blue")])
    expected = torch.nn.functional.cross_entropy(logits_BK, wanted_B)
    torch.testing.assert_close(task.loss(samples, ["red", "red", "blue"]), expected)


def test_top_five_is_measured_where_there_are_more_than_five_classes():
    encoder = small_image_encoder(dim=16, depth=1, heads=2, widths=(4, 4))()
    few, many = (Classification(Classification.build(encoder, classes=list("abcdefgh"[:k]))) for k in (5, 6))
    assert list(few.metrics()) == ["top1"]
    assert list(many.metrics()) == ["top1", "top5"]


def test_classes_of_a_data_set_are_in_the_order_of_their_names_and_numbers_by_value(tmp_path):
    (tmp_path / "set.csv").write_text("image,label\n1.png,10\n2.png,9\n3.png,cat\n4.png,ape\n5.png,9\n")
    assert Classification.options_from(tmp_path / "set.csv") == {"classes": ("9", "10", "ape", "cat")}


@pytest.mark.parametrize("classes", [(), ("a", "b", "a")])
def test_classes_must_be_different_names(classes):
    encoder = small_image_encoder(dim=16, depth=1, heads=2, widths=(4, 4))()
    with pytest.raises(ValueError, match="classes must be different names, at least one"):
        Classification.build(encoder, classes=classes)


def test_a_label_that_is_no_class_is_refused_by_name(task, tmp_path):
    (tmp_path / "set.csv").write_text("image,label\n1.png,red\n2.png,pink\n")
    with pytest.raises(InputError, match="2.png: the label 'pink' is not a class; classes: "):
        task.labelled(tmp_path / "set.csv")


def test_the_embedded_weights_are_found_by_name():
    assert catalog("tasks")["classification"] is Classification
    assert Classification.weights == "classification_cifar10"
