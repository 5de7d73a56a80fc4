"""Uni-Perceiver: its size against the released configuration, its core against torch's, one set of weights for all."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.objectives.likelihood import Likelihood
from unimodal.part import Part
from unimodal.recipes.uni_perceiver import uni_perceiver
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokenizers.text import Text
from unimodal.tokens import Tokens

SIZES = [("tiny", 192, 12, 15_134_987), ("base", 768, 12, 124_683_275), ("large", 1024, 24, 355_434_507)]
TASKS = tuple(f"temperature_{i}" for i in range(11))


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def small(**settings: Any) -> Any:
    text = Part(Text, vocabulary=300, encoding="bytes")
    return uni_perceiver("tiny", image=32, text=text, context=64, **settings)()


@pytest.mark.parametrize("size, dim, depth, total", SIZES)
def test_sizes_are_the_sum_of_the_released_configuration(size, dim, depth, total):
    with torch.device("meta"):
        ours = count(uni_perceiver(size)(), Likelihood(dim, tasks=TASKS))
        layer = nn.TransformerEncoderLayer(dim, 1, 4 * dim, norm_first=True)
        words = [nn.Embedding(n, dim) for n in (49411, 512, 2)]  # words, their places, their types
        pixels = [nn.Conv2d(3, dim, 16, 16), *(nn.Embedding(n, dim) for n in (100, 8, 1))]  # places, frames, a type
        behind = [nn.LayerNorm(dim), nn.Linear(dim, dim)]
        norm = nn.LayerNorm(dim)  # one for words and pixels
    scales = 2 * dim
    assert ours == depth * (count(layer) + scales) + count(*words, *pixels, *behind, norm) + len(TASKS) == total


def test_the_base_size_has_124_7_million_parameters_whatever_the_number_of_tasks():
    with torch.device("meta"):
        model = uni_perceiver("base")()
        counts = [count(model, Likelihood(768, tasks=TASKS[:n])) for n in (1, 3, 11)]
    assert round(counts[2] / 1e6, 1) == 124.7
    assert [n - counts[0] for n in counts] == [0, 2, 10]


def theirs(core: Any) -> nn.TransformerEncoder:
    """torch's encoder with random weights, which ``core`` gets too."""
    layer = nn.TransformerEncoderLayer(192, 3, 768, dropout=0.0, activation="gelu", norm_first=True, batch_first=True)
    encoder = nn.TransformerEncoder(layer, len(core.blocks), enable_nested_tensor=False).eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        for layer, block in zip(encoder.layers, core.blocks, strict=True):
            assert isinstance(layer, nn.TransformerEncoderLayer)
            maps = [(block.mixer.to_out, layer.self_attn.out_proj), (block.norm_mixer, layer.norm1)]
            maps += [(block.norm_ffn, layer.norm2), (block.ffn.to_hidden, layer.linear1)]
            maps += [(block.ffn.to_out, layer.linear2)]
            for ours, other in maps:
                ours.load_state_dict(other.state_dict())
            block.mixer.to_qkv.weight.copy_(layer.self_attn.in_proj_weight)
            block.mixer.to_qkv.bias.copy_(layer.self_attn.in_proj_bias)
    return encoder


@pytest.mark.parity
def test_the_core_is_torchs_encoder():
    core = small(layer_scale=None).eval().transformer
    encoder, x = theirs(core), torch.randn(3, 9, 192)
    lengths = torch.tensor([9, 4, 7])
    padding = torch.arange(9) >= lengths[:, None]
    torch.testing.assert_close(core(Tokens(x)).x, encoder(x), rtol=1e-6, atol=1e-6)
    ours = core(Tokens(x, Side(lengths=lengths))).split()
    for row, other, n in zip(ours, encoder(x, src_key_padding_mask=padding), lengths.tolist(), strict=True):
        torch.testing.assert_close(row, other[:n], rtol=1e-6, atol=1e-6)


def test_pictures_and_texts_go_through_the_same_blocks_and_come_out_as_one_vector():
    model = small().eval()
    passed: list[torch.Size] = []
    model.transformer.blocks[3].register_forward_pre_hook(lambda _, given: passed.append(given[0].shape))
    text = model.tokenizer("text")
    assert model.embed(Batch("image", torch.randn(2, 3, 32, 32))).shape == (2, 192)
    assert model.embed(text.collate([text.read("seven"), text.read("a dog")])).shape == (2, 192)
    assert passed == [(2, 1 + 4, 192), (2, 1 + 6, 192)]


def test_the_first_token_sees_the_whole_text():
    model = small().eval()
    text = model.tokenizer("text")
    one, other = (model.embed(text.collate([text.read(word)])) for word in ("seven", "sever"))
    assert not torch.allclose(one, other, rtol=0, atol=1e-6)


def test_layers_have_one_rate_of_stochastic_depth():
    assert {block.drop_path for block in small(drop_path=0.1).transformer.blocks} == {0.1}


def test_it_is_a_part_that_round_trips():
    part = uni_perceiver("tiny")
    assert Part.from_json(part.to_json()) == part


def test_wrong_requests_raise():
    with pytest.raises(ValueError, match="size must be one of tiny"):
        uni_perceiver("mini")
    with pytest.raises(ValueError, match="multiple of patch 16 px, not 230"):
        uni_perceiver("tiny", image=230)
