"""Inherit: every weight of the plain model is taken, what is new is named, and what does not fit is refused."""

import pytest
import torch

from unimodal.inherit import inherit
from unimodal.recipes.vit import vit
from unimodal.recipes.vit_comer import vit_comer


def parts(depth: int = 4):
    plain = vit("tiny", image=32)
    plain = plain.replace(transformer=plain.kwargs["transformer"].replace(depth=depth))
    return vit_comer("tiny", encoder=plain), plain


def test_every_weight_is_taken_and_the_new_ones_are_named():
    adapted, plain = (part() for part in parts())
    new = inherit(adapted, plain)
    kept = [p for name, p in adapted.named_parameters() if name not in new]
    assert sorted(p.shape for p in kept) == sorted(p.shape for p in plain.parameters())
    assert torch.equal(
        adapted.transformer.core.blocks[3].mixer.to_qkv.weight, plain.transformer.blocks[3].mixer.to_qkv.weight
    )
    assert torch.equal(adapted.positions["image"].table, plain.positions["image"].table)
    assert all("beside" in name or (name.startswith("transformer.") and ".core." not in name) for name in new)


def test_a_source_that_does_not_fit_is_refused():
    adapted = parts()[0]()
    with pytest.raises(ValueError, match="transformer.blocks.4.* has no place"):
        inherit(adapted, parts(8)[1]())
    with pytest.raises(ValueError, match="has shape .* in the model"):
        inherit(adapted, vit("small", image=32)())
