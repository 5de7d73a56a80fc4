"""Any2Point: published numbers of parameters, and the frozen transformers that it is without its guidance."""

import json
from typing import Any

import pytest
import torch

from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.positions.sincos import SinCos
from unimodal.pretrained import load_with_info
from unimodal.readouts.class_and_max import ClassAndMax
from unimodal.readouts.perceptron import Perceptron
from unimodal.recipes.any2point import any2point
from unimodal.recipes.small_image_encoder import small_image_encoder
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transplant import transplant


def source_of(name: str) -> Part:
    """A model with the published source's core and table, without a tokenizer."""
    core: Any = any2point(name).kwargs["transformer"]
    grid = core.kwargs["position"].kwargs["grid"]
    inner = core.kwargs["core"]
    blocks = tuple(block.replace(ffn=block.kwargs["ffn"].kwargs["ffn"]) for block in inner.kwargs["blocks"])
    position = Part(Learned, grid=grid)
    return Part(Model, dim=768, tokenizers={}, positions={"any": position}, transformer=inner.replace(blocks=blocks))


@pytest.mark.parametrize("name, layer_scales", [("clip_text", 0), ("dinov2", 2 * 12 * 768)])
def test_the_trained_parameters_without_the_head_are_those_of_the_released_code(name, layer_scales):
    """Of the released code: all that its training script does not freeze, without ``prediction``; see the recipe.

    With pictures the layer scales, which stay frozen here, would be trained too: 966,744.
    """
    with torch.device("meta"):
        model, source = any2point(name)(), source_of(name)()
        transplant(model, source)
    counts = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    assert sum(counts.values()) == 948_312
    scales = sum(p.numel() for n, p in source.named_parameters() if ".scale_" in n)
    assert scales == layer_scales
    groups = {
        "tokenizers.": 276_672,
        "prefix.": 768,
        "transformer.source.prefix": 768,
        "transformer.source.core.blocks.": 12 * 25_360,
        "transformer.aggregations.": 12 * 7 * 2 * 768,
        "transformer.attend.": 6 * 39_204,
        "transformer.source.core.norm.": 1_536,
    }
    for prefix, count in groups.items():
        assert sum(n for name, n in counts.items() if name.startswith(prefix)) == count, prefix
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert frozen == sum(p.numel() for p in source.transformer.blocks.parameters())


def test_a_classifier_of_forty_classes_has_the_published_head():
    head = Part(Perceptron, pool=Part(ClassAndMax), width=40)
    with torch.device("meta"):
        readout = any2point(readout=head)().readout
    assert [tuple(layer.weight.shape) for layer in readout.maps] == [(256, 1536), (256, 256)]
    assert tuple(readout.project.weight.shape) == (40, 256)


def test_it_comes_back_from_json_and_reads_clouds():
    source = small_image_encoder(dim=24, depth=2, heads=2, widths=(6,))
    part = any2point(source, points=32, groups=8, neighbours=6)
    back = Part.from_json(json.loads(json.dumps(part.to_json())))
    assert back == part
    model = back().eval()
    tokens = model(Batch("point_cloud", torch.randn(3, 32, 3)))
    assert tokens.x.shape == (3, 9, 24)
    assert model.embed(Batch("point_cloud", torch.randn(3, 32, 3))).shape == (3, 48)


@pytest.mark.parametrize("sizes", [(32, 20), (9, 32, 20)])
def test_clouds_of_other_sizes_give_what_they_give_alone(sizes):
    source = small_image_encoder(dim=24, depth=2, heads=2, widths=(6,))
    model = any2point(source, points=32, groups=8, neighbours=6)().double().eval()
    clouds = tuple(torch.randn(n, 3).double() for n in sizes)
    together = model.embed(Batch("point_cloud", clouds))
    for vector, cloud in zip(together, clouds, strict=True):
        torch.testing.assert_close(vector, model.embed(Batch("point_cloud", cloud[None]))[0])


def clip(transformers):
    settings = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
    words = {"vocab_size": 60, "max_position_embeddings": 12, "eos_token_id": 59, "bos_token_id": 58, "pad_token_id": 0}
    peer = transformers.CLIPTextModel(transformers.CLIPTextConfig(**settings, **words))
    tower = getattr(peer, "text_model", peer)
    return peer, tower.encoder.layers, tower.final_layer_norm, "embeddings.position_embedding"


def dinov2(transformers):
    settings = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 56, "patch_size": 14}
    peer = transformers.Dinov2Model(transformers.Dinov2Config(**settings))
    return peer, peer.encoder.layer, peer.layernorm, "position_embeddings"


@pytest.mark.parity
@pytest.mark.parametrize("make, axes", [(clip, 1), (dinov2, 2)])
def test_without_bottleneck_and_guidance_it_is_the_frozen_source_on_the_same_tokens(make, axes, tmp_path):
    """Against the layers of transformers' CLIP without a causal mask, and of its DINOv2, on random weights."""
    transformers = pytest.importorskip("transformers")
    peer, layers, last, table = make(transformers)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.normal_(std=0.3)
    peer.eval().save_pretrained(tmp_path)
    source, info = load_with_info(f"transformers:{tmp_path}")
    model = any2point(info.part, points=64, groups=16, neighbours=8, scale=0.0, share=0.0)()
    transplant(model, source)  # pyright: ignore[reportArgumentType]
    model.eval()
    guided: Any = model.transformer
    rows = dict(peer.named_parameters())
    theirs = next(tensor for name, tensor in rows.items() if table in name).reshape(-1, 48)
    assert torch.equal(guided.source.position.table, theirs[1:] if axes == 2 else theirs)
    given = Tokens(torch.randn(3, 17, 48), Side(positions=torch.randn(3, 17, 3), prefix=1))
    with torch.inference_mode():
        place = guided.source.offset(given)
        x = given.x
        for layer in layers:
            out = layer(x + place, None) if axes == 1 else layer(x + place)
            x = out[0] if isinstance(out, tuple) else out
        expected = last(x)
        assert (guided(given).x - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
        bare = guided.source.core(given).x  # the same without positions: the layers one after another
        x = given.x
        for layer in layers:
            out = layer(x, None) if axes == 1 else layer(x)
            x = out[0] if isinstance(out, tuple) else out
        torch.testing.assert_close(bare, last(x), rtol=1e-5, atol=1e-5)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="source must be one of clip_text, dinov2 or a Part, not 'clip'"):
        any2point("clip")


def test_a_source_without_a_table_is_refused():
    source = small_image_encoder().replace(positions={"image": Part(SinCos)})
    with pytest.raises(ValueError, match="the source must have one learned position table, not 0"):
        any2point(source)


def test_blocks_without_a_feed_forward_are_refused():
    source = small_image_encoder()
    core = source.kwargs["transformer"]
    bare = core.replace(blocks=core.kwargs["blocks"].replace(ffn=None))
    with pytest.raises(ValueError, match="every block of the source needs a feed-forward, and there is none in"):
        any2point(source.replace(transformer=bare))
