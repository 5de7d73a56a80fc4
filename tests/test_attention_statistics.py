"""What is collected is what the attention maps say, and the model computes what it computed."""

from typing import Any

import pytest
import torch

from unimodal.attention_statistics import attention_statistics
from unimodal.recipes.vit import vit
from unimodal.sample import Batch


@torch.inference_mode()
def test_sums_are_those_of_explicit_maps_and_outputs_stay_the_same():
    part = vit("tiny", image=32)
    model: Any = part.replace(transformer=part.kwargs["transformer"].replace(depth=2))().eval()
    batch, maps = Batch("image", torch.randn(2, 3, 64, 48)), []
    first = model.transformer.blocks[0].mixer
    handle = first.attention.register_forward_pre_hook(lambda _, x: maps.append((x[0] @ x[1].mT / 8.0).softmax(-1)))
    plain = model(batch).x
    handle.remove()
    with attention_statistics(model) as seen:
        assert torch.equal(model(batch).x, plain)
    model(batch)
    assert [len(calls) for calls in seen.values()] == [1, 1]
    got: Any = seen["transformer.blocks.0.mixer.attention"][0]
    torch.testing.assert_close(got.column_sums, maps[0].sum(2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.entropy, torch.special.entr(maps[0]).sum(-1), rtol=1e-4, atol=1e-4)


def test_a_model_without_attention_raises():
    with (
        pytest.raises(ValueError, match="no softmax or sigmoid attention"),
        attention_statistics(torch.nn.Linear(2, 2)),
    ):
        pass
