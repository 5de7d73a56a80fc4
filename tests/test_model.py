"""Model: tokenizer, position, prefix, norm, core and readout, in this order."""

import pytest
import torch
import torch.nn as nn

from unimodal.block import Block
from unimodal.ffns.linear import Linear
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.norms.rms import RMSNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.behind import Behind
from unimodal.readouts.class_and_max import ClassAndMax
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.recipes.unireplknet import unireplknet
from unimodal.recipes.vit import vit
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer


class Series(nn.Module):
    """The smallest tokenizer: every value of a series becomes a token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embed = nn.Linear(1, dim)

    def forward(self, batch: Batch) -> Tokens:
        assert isinstance(batch.data, torch.Tensor)
        return Tokens(self.embed(batch.data[..., None]), Side(grid=(batch.data.shape[1],), modality="series"))


CORE = Part(
    Transformer,
    depth=2,
    blocks=Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain)),
    norm=Part(LayerNorm),
)


def model(**changes) -> Model:
    parts = {
        "tokenizers": {"series": Part(Series), "other": Part(Series)},
        "transformer": CORE,
        "positions": {"series": Part(Learned, grid=(5,))},
        "prefix": 2,
        "norm": Part(RMSNorm),
        "readout": Part(ClassToken, width=3),
    }
    return Model(8, **{**parts, **changes})


def batch(modality: str = "series") -> Batch:
    return Batch(modality, torch.randn(3, 5))


def test_the_steps_follow_in_their_order():
    built, data = model(), batch()
    tokens = built.tokenizers["series"](data)
    x = built.positions["series"](tokens.x, tokens.side)
    assert built.prefix is not None
    assert built.norm is not None
    assert built.readout is not None
    tokens = built.prefix(tokens.replace(x))
    tokens = tokens.replace(built.norm(tokens.x))
    assert torch.equal(built.tokenize(data).x, tokens.x)
    assert torch.equal(built(data).x, built.transformer(tokens).x)
    assert torch.equal(built.embed(data), built.readout(built.transformer(tokens)))
    assert built.embed(data).shape == (3, 3)
    assert built(data).side.prefix == 2


def test_what_is_left_out_is_left_out():
    bare, data = model(positions=None, prefix=0, norm=None, readout=Part(Mean)), batch()
    tokens = bare.tokenizers["series"](data)
    assert torch.equal(bare.tokenize(data).x, tokens.x)
    assert torch.equal(bare.embed(data), bare.transformer(tokens).x.mean(1))


def test_a_modality_without_a_position_part_gets_none():
    built, data = model(prefix=0, norm=None), batch("other")
    assert torch.equal(built.tokenize(data).x, built.tokenizers["other"](data).x)


def test_features_come_from_the_core():
    built, data = model(), batch()
    first, last = built.features(data, [0, 2])
    assert torch.equal(first.x, built.tokenize(data).x)
    assert torch.equal(last.x, built(data).x)


def test_every_parameter_that_a_batch_uses_gets_a_finite_gradient():
    built = model()
    built.embed(batch()).square().sum().backward()
    for name, parameter in built.named_parameters():
        used = not name.startswith("tokenizers.other")
        assert (parameter.grad is not None) == used, name
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_state_dict_makes_an_equal_model():
    one, other, data = model(), model(), batch()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.embed(data), other.embed(data))


def test_a_modality_without_a_tokenizer_raises():
    with pytest.raises(ValueError, match="this model reads series, other, not 'audio'"):
        model()(batch("audio"))


def test_embedding_without_a_readout_raises():
    with pytest.raises(ValueError, match="this model has no readout"):
        model(readout=None).embed(batch())


def test_strides_say_how_far_a_cell_reaches_in_the_input():
    pyramid, transformer = unireplknet("a")(), vit("tiny")()
    assert pyramid.strides("image") == (4, 4, 8, 16, 32)
    assert transformer.strides("image") == (16,) * 13
    for size in ((71, 130), (64, 96), (33, 35)):
        features = pyramid.features(Batch("image", torch.zeros(1, 3, *size)), range(5))
        for feature, stride in zip(features, pyramid.strides("image"), strict=True):
            assert feature.side.grid == tuple(-(-n // stride) for n in size)


def test_a_tokenizer_without_a_stem_has_no_strides():
    with pytest.raises(ValueError, match="the tokenizer of series has no stem"):
        model().strides("series")


def test_the_embeddings_width_is_what_the_readout_gives():
    behind = Part(Behind, parts=(Part(Linear, width=7),), readout=Part(Head, pool=Part(ClassAndMax)))
    for readout, width in ((behind, 14), (Part(Head, pool=Part(Mean), width=5), 5), (Part(Mean), 192)):
        model = vit("tiny", image=32, readout=readout).replace(transformer=CORE)()
        assert model.embed(Batch("image", torch.zeros(2, 3, 32, 32))).shape == (2, width)
        assert (model.embedded, model.dim) == (width, 192)
