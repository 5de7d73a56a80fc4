"""The pre-norm recipe against torch's own encoder with the same weights."""

from typing import Any

import pytest
import torch

from unimodal.part import Part
from unimodal.recipes.pre_norm import pre_norm
from unimodal.tokens import Tokens


def test_it_equals_the_pre_norm_encoder_of_torch():
    ours: Any = pre_norm(depth=2, heads=3, hidden=20, eps=1e-5)(12).double().eval()
    layer = torch.nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", batch_first=True, norm_first=True)
    peer: Any = (
        torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(12), enable_nested_tensor=False).double().eval()
    )
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours.norm.load_state_dict(peer.norm.state_dict())
    for block, theirs in zip(ours.blocks, peer.layers, strict=True):
        block.norm_mixer.load_state_dict(theirs.norm1.state_dict())
        block.norm_ffn.load_state_dict(theirs.norm2.state_dict())
        block.ffn.to_hidden.load_state_dict(theirs.linear1.state_dict())
        block.ffn.to_out.load_state_dict(theirs.linear2.state_dict())
        block.mixer.to_out.load_state_dict(theirs.self_attn.out_proj.state_dict())
        block.mixer.to_qkv.weight.data = theirs.self_attn.in_proj_weight.data
        block.mixer.to_qkv.bias.data = theirs.self_attn.in_proj_bias.data
    x = torch.randn(3, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(Tokens(x)).x, peer(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("change", [{"gated": True}, {"qk_norm": True}, {"layer_scale": 1e-5}, {"qkv_bias": False}])
def test_every_variant_is_a_part_that_round_trips(change):
    part = pre_norm(depth=1, heads=2, hidden=8, **change)
    assert Part.from_json(part.to_json()) == part
    assert part(8)(Tokens(torch.randn(2, 3, 8))).x.isfinite().all()
