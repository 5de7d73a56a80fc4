"""The recipe ``fit``: its sizes, and as the core of a model of pictures and of one of text."""

from typing import Any

import numpy as np
import pytest
import torch

from unimodal.catalog import catalog
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.recipes.fit import fit
from unimodal.side import Side
from unimodal.stems.patch import PatchStem
from unimodal.tokens import Tokens


def test_layers_have_the_widths_and_heads_that_are_asked_for():
    core: Any = fit(spec="(2)3(1)", groups=4, slots=8, latents=2, heads=2, width=24, across_heads=4, ratio=2.0)(12)
    first, last = core.stages
    assert [len(first.local), len(first.across), len(last.local)] == [2, 3, 1]
    assert (first.local[0].mixer.heads, first.across[0].mixer.heads, first.read.heads, first.write.heads) == (
        2,
        4,
        2,
        2,
    )
    assert (first.local[0].ffn.to_hidden.out_features, first.across[0].ffn.to_hidden.out_features) == (24, 48)
    assert (first.read.to_q.in_features, first.read.to_q.out_features, first.read.to_out.out_features) == (24, 12, 24)
    assert {m.eps for m in core.modules() if isinstance(m, LayerNorm)} == {1e-6}
    assert first.read.ffn is None
    assert first.told is None


def test_a_denoiser_has_feed_forwards_behind_cross_attention_and_reads_a_memory():
    core: Any = fit(spec="(1)1(1)", groups=2, slots=4, latents=2, heads=2, fed=True, conditioned=True)(8)
    assert core.stages[0].read.ffn is not None
    assert core.stages[0].write.ffn is not None
    x, held = torch.randn(2, 8, 8), torch.randn(2, 3, 8)
    plain = core(Tokens(x)).x
    assert not torch.equal(core(Tokens(x, Side(memory=Tokens(held)))).x, plain)


def test_stochastic_depth_is_the_same_in_every_layer():
    core: Any = fit(spec="(2)2(1)", groups=2, slots=4, latents=2, heads=2, drop_path=0.2)(8)
    assert {b.drop_path for stage in core.stages for b in (*stage.local, *stage.across)} == {0.2}


@pytest.mark.parametrize("spec, tokens", [("(1)1(1)1", 4 * 3), ("(1)1(1)", 64)])
def test_a_picture_in_windows_becomes_one_vector(spec, tokens):
    core = fit(spec=spec, groups=4, slots=(4, 4), latents=3, heads=2)
    image = Part(catalog("tokenizers")["image"], size=32, stem=Part(PatchStem, patch=4))
    parts = {"tokenizers": {"image": image}, "norm": Part(LayerNorm), "transformer": core, "readout": Part(Mean)}
    model: Any = Model(16, **parts).eval()
    tokenizer = model.tokenizer("image")
    draw = np.random.default_rng(0)
    batch = tokenizer.collate([tokenizer.read(draw.integers(0, 255, (40, 32, 3)).astype(np.uint8)) for _ in range(2)])
    assert model(batch).x.shape == (2, tokens, 16)
    assert model.embed(batch).shape == (2, 16)
    assert model.features(batch, [0, 2])[1].x.shape == (2, 64, 16)


def test_texts_of_different_lengths_keep_their_order():
    core = fit(spec="(1)1(1)", groups=4, slots=8, latents=2, heads=2)
    text = Part(catalog("tokenizers")["text"], encoding="bytes", context=32)
    model: Any = Model(16, tokenizers={"text": text}, transformer=core).eval()
    tokenizer = model.tokenizer("text")

    def states(*texts):
        return model(tokenizer.collate([tokenizer.read(t) for t in texts])).split()

    first, second = states("the same twenty beginnings", "short")
    alone = states("the same twenty end")[0]
    assert len(first) > len(second)
    assert torch.equal(first[:16], alone[:16])


def test_it_is_a_part_that_round_trips():
    part = fit(spec="(1)1(1)", groups=2, slots=4, latents=2, heads=2, fed=True, conditioned=True)
    assert Part.from_json(part.to_json()) == part
