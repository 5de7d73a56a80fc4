"""The post-norm recipe against torch's own encoder with the same weights."""

from typing import Any

import pytest
import torch

from unimodal.part import Part
from unimodal.recipes.post_norm import post_norm
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_equals_the_post_norm_encoder_of_torch():
    ours: Any = post_norm(depth=2, heads=3, hidden=20, eps=1e-5)(12).double().eval()
    layer = torch.nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", batch_first=True)
    peer: Any = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for block, theirs in zip(ours.blocks, peer.layers, strict=True):
        block.norm_mixer.load_state_dict(theirs.norm1.state_dict())
        block.norm_ffn.load_state_dict(theirs.norm2.state_dict())
        block.ffn.to_hidden.load_state_dict(theirs.linear1.state_dict())
        block.ffn.to_out.load_state_dict(theirs.linear2.state_dict())
        block.mixer.to_out.load_state_dict(theirs.self_attn.out_proj.state_dict())
        block.mixer.to_qkv.weight.data = theirs.self_attn.in_proj_weight.data
        block.mixer.to_qkv.bias.data = theirs.self_attn.in_proj_bias.data
    x, lengths = torch.randn(3, 7, 12, dtype=torch.float64), torch.tensor([7, 2, 5])
    hidden = torch.arange(7)[None] >= lengths[:, None]
    found = ours(Tokens(x, Side(lengths=lengths))).x
    torch.testing.assert_close(found[~hidden], peer(x, src_key_padding_mask=hidden)[~hidden], rtol=0, atol=1e-10)


@pytest.mark.parametrize("change", [{"qkv_bias": False}, {"drop_path": 0.1}, {"activation": "gelu_tanh"}])
def test_every_variant_is_a_part_that_round_trips(change):
    part = post_norm(depth=2, heads=2, hidden=8, **change)
    assert Part.from_json(part.to_json()) == part
    assert part(8)(Tokens(torch.randn(2, 3, 8))).x.isfinite().all()


def test_base_has_the_published_number_of_parameters():
    with torch.device("meta"):
        blocks: Any = post_norm(depth=12, heads=12, hidden=3072)(768)
    embedding = (30522 + 512 + 2) * 768 + 2 * 768
    pooler = 768 * 768 + 768
    assert sum(p.numel() for p in blocks.parameters()) + embedding + pooler == 109_482_240
