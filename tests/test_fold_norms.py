"""A model with its batch norms folded is the same function, without norms."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.block import Block
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.fold_norms import fold_norms
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.norms.unified import UnifiedNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

BLOCK = Part(Block, mixer=Part(Full, heads=3), ffn=Part(Plain))


def core(norm: type, block: Part = BLOCK) -> Any:
    model = Transformer(12, depth=3, blocks=block.replace(norm=Part(norm)), norm=Part(norm))
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if "running_var" in name or "running_square" in name:
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn_like(tensor))  # the stream stays of order one
    return model.eval()


@pytest.mark.parametrize("norm", [BatchNorm, ProgressiveBatchNorm, UnifiedNorm])
@pytest.mark.parametrize(
    "block", [BLOCK, BLOCK.replace(layout="parallel"), BLOCK.replace(ffn=Part(Gated)), BLOCK.replace(ffn=None)]
)
@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_outputs_are_the_models_and_no_norm_is_left(norm, block, dtype, gap):
    model = core(norm, block).to(dtype)
    new: Any = fold_norms(model)
    for side in (Side(), Side(lengths=torch.tensor([5, 2]))):
        tokens = Tokens(torch.randn(2, 5, 12, dtype=dtype), side)
        want = model(tokens).x
        torch.testing.assert_close(new(tokens).x, want, rtol=0, atol=gap * want.abs().max().item())
    assert not any(isinstance(module, BatchNorm | LayerNorm | UnifiedNorm) for module in new.modules())
    assert any(isinstance(module, norm) for module in model.modules())


def randomised(*modules: nn.Module) -> Any:
    for module in modules:
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.5, 2.0) if "running" in name else nn.init.normal_(tensor)
    return nn.Sequential(*modules).double().eval()


@pytest.mark.parametrize(
    "sequence",
    [
        lambda: randomised(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.GELU()),
        lambda: randomised(nn.Conv2d(3, 6, 4, stride=4, groups=3, bias=False), nn.BatchNorm2d(6)),
        lambda: randomised(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6, affine=False)),
    ],
)
def test_a_norm_behind_a_convolution_goes_into_it_whatever_its_bias_is(sequence):
    whole, pixels = sequence(), torch.randn(2, 3, 12, 12, dtype=torch.float64)
    new, weight = fold_norms(whole), whole[0].weight.clone()
    torch.testing.assert_close(new(pixels), whole(pixels), rtol=0, atol=1e-12)
    assert torch.equal(whole[0].weight, weight)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in new.modules())


@pytest.mark.parametrize("norm", [BatchNorm, ProgressiveBatchNorm, UnifiedNorm])
def test_a_patch_map_with_a_bias_takes_in_the_norm_and_its_skip(norm):
    whole = randomised(nn.Linear(48, 12), norm(12))
    assert whole[0].bias.abs().min() > 0.0
    patches = torch.randn(2, 5, 48, dtype=torch.float64)
    new: Any = fold_norms(whole)
    torch.testing.assert_close(new(patches), whole(patches), rtol=0, atol=1e-12)
    assert [type(module) for module in new] == [nn.Linear, nn.Identity]


def test_the_norm_between_embedding_and_core_becomes_a_factor_and_a_shift():
    part = Part(Transformer, depth=1, blocks=BLOCK)
    model: Any = Model(12, tokenizers={}, transformer=part, norm=Part(BatchNorm), prefix=1).double().eval()
    nn.init.normal_(model.norm.running_mean)
    new: Any = fold_norms(model)
    tokens = Tokens(torch.randn(2, 5, 12, dtype=torch.float64), Side())
    torch.testing.assert_close(new.place(tokens, "any").x, model.place(tokens, "any").x, rtol=0, atol=1e-12)
    assert not any(isinstance(module, BatchNorm) for module in new.modules())


def test_norms_that_keep_no_averages_stay():
    with pytest.raises(ValueError, match="no norm that can be folded"):
        fold_norms(randomised(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)))


def test_a_model_in_training_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        fold_norms(core(BatchNorm).train())


def test_a_model_without_such_norms_is_refused():
    with pytest.raises(ValueError, match="no norm that can be folded"):
        fold_norms(core(LayerNorm))


def test_a_block_in_which_no_map_follows_the_norm_is_refused():
    with pytest.raises(ValueError, match="not post"):
        fold_norms(core(BatchNorm, BLOCK.replace(layout="post")))


def test_a_feed_forward_that_is_not_known_is_refused():
    model = core(BatchNorm)
    model.blocks[0].ffn = nn.Identity()
    with pytest.raises(ValueError, match="not Identity"):
        fold_norms(model)


def test_a_memory_is_refused_because_it_passes_no_norm():
    x = torch.randn(1, 3, 12)
    with pytest.raises(ValueError, match="'memory'"):
        fold_norms(core(BatchNorm))(Tokens(x, Side(memory=Tokens(x, Side()))))
