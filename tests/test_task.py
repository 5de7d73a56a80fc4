"""The task contract: what a class must have, said all at once, and tasks found by name."""

import pytest

from unimodal.errors import UnknownNameError
from unimodal.task import OUTPUTS, Prediction, load_task, require_task_contract
from unimodal.tasks.classification import Classification, ClassPrediction


def lacking(**changes):
    return type("Changed", (Classification,), changes)


def test_the_built_in_task_keeps_the_contract():
    require_task_contract(Classification, "classification")
    assert issubclass(ClassPrediction, Prediction)
    assert set(Classification.outputs) <= set(OUTPUTS)


@pytest.mark.parametrize(
    "task, told",
    [
        (lambda: None, "task 'classification' must be a class, not function"),
        (lacking(title=None), "title must be a string"),
        (lacking(encoder=3), "encoder must be a string"),
        (lacking(name="other"), "name must be 'classification', the name it is registered under, not 'other'"),
        (lacking(inputs=()), "inputs must be a tuple of names"),
        (lacking(outputs=["classes"]), "outputs must be a tuple of names"),
        (lacking(outputs=("smell",)), r"outputs \['smell'\] are not among \['classes', 'segments'"),
        (lacking(predict=None), r"predict\(\) is missing"),
    ],
)
def test_what_is_wrong_is_named(task, told):
    with pytest.raises(TypeError, match=told):
        require_task_contract(task, "classification")


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(TypeError, match=r"title must be a string; summary must be a string; .*loss\(\) is missing"):
        require_task_contract(lacking(title=1, summary=2, loss=None), "classification")


def test_an_unknown_task_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="no task named 'clasification'; did you mean 'classification'"):
        load_task("clasification")


def test_a_task_is_ready_to_predict_when_it_is_loaded(classifier, coloured_shapes):
    task = load_task("classification", classifier)
    assert not task.module.training
    prediction = task.predict([task.read(coloured_shapes / "test" / "green" / "0.png")])[0]
    assert prediction.to_json()["label"] == "green"
