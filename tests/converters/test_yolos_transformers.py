"""transformers' YOLOS, saved by ``save_pretrained``, computed by the core's parts."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.checkpoint import save
from unimodal.detector import Detector
from unimodal.errors import CheckpointError
from unimodal.part import Part
from unimodal.pretrained import load_with_info
from unimodal.sample import Batch

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": [48, 64],
    "patch_size": 8,
    "num_detection_tokens": 5,
    "use_mid_position_embeddings": False,
    "num_labels": 4,
}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(**settings: Any) -> Any:
        peer = randomise(transformers.YolosForObjectDetection(transformers.YolosConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 48, 64), (2, 64, 64), (1, 40, 88), (1, 45, 67)])
@pytest.mark.parametrize("settings", [{}, {"qkv_bias": False}])
def test_classes_and_boxes_are_the_peers(saved, pixels, parity, settings, images, rows, columns):
    peer, spec = saved(**settings)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs, ours = peer(batch.data), unimodal.load(spec)(batch)
    for found, wanted in ((ours.classes, theirs.logits), (ours.boxes, theirs.pred_boxes)):
        parity("YOLOS", "image", "transformers:hustvl/yolos-tiny", found, wanted)


def test_permuted_detection_tokens_give_permuted_objects(saved, pixels):
    model, batch, order = unimodal.load(saved()[1]), pixels(1, 48, 64), torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        before = model(batch)
        tokens = model.encoder.prefix.tokens
        tokens[1:] = tokens[1:][order].clone()
        after = model(batch)
    torch.testing.assert_close(after.classes, before.classes[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after.boxes, before.boxes[:, order], atol=1e-5, rtol=1e-5)


def test_it_goes_through_json_and_a_checkpoint_of_the_suite(saved, tmp_path, pixels):
    model, info = load_with_info(saved()[1])
    assert Part.from_json(info.part.to_json()) == info.part
    save(model, tmp_path / "own", part=info.part, provenance=info.provenance)
    again, batch = unimodal.load(tmp_path / "own"), pixels(1, 48, 64)
    assert torch.equal(again(batch).boxes, model(batch).boxes)


def test_every_parameter_has_a_gradient(saved, pixels):
    model = unimodal.load(saved()[1]).requires_grad_(True)
    found = model(pixels(1, 40, 88))
    (found.classes.square().sum() + found.boxes.square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_pictures_of_several_sizes_are_refused(saved, pixels):
    model = unimodal.load(saved()[1])
    batch = Batch("image", (pixels(1, 48, 64).data[0], pixels(1, 64, 48).data[0]))
    with pytest.raises(ValueError, match="these differ in size"):
        model(batch)


def test_positions_between_the_layers_are_refused_by_name(saved):
    with pytest.raises(CheckpointError, match="use_mid_position_embeddings is True"):
        unimodal.load(saved(use_mid_position_embeddings=True)[1])


def test_too_few_prefix_tokens_and_sizes_below_one_are_refused(saved):
    part = load_with_info(saved()[1])[1].part
    encoder = part.kwargs["encoder"]
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"the encoder has {count}"):
            Detector(encoder=encoder.replace(prefix=count), classes=4, queries=5)
    with pytest.raises(ValueError, match="at least 1, not 0 and 5"):
        Detector(encoder=encoder, classes=0, queries=5)
