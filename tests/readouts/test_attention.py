"""The attention readout against its equation and the pooling head of SigLIP."""

import pytest
import torch

from unimodal.ffns.plain import Plain
from unimodal.part import Part
from unimodal.readouts.attention import AttentionReadout
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_equals_the_equation():
    readout, x = AttentionReadout(6, heads=2).double(), torch.randn(2, 7, 6, dtype=torch.float64)
    (weight_q, weight_k, weight_v), (bias_q, bias_k, bias_v) = (
        t.split(6) for t in (readout.mixer.to_qkv.weight, readout.mixer.to_qkv.bias)
    )
    z = readout(Tokens(x))
    for s in range(2):
        q, k, v = readout.query @ weight_q.T + bias_q, x[s] @ weight_k.T + bias_k, x[s] @ weight_v.T + bias_v
        heads = []
        for part in (slice(3), slice(3, 6)):
            gate = (k[:, part] @ q[0, part] / 3**0.5).exp()
            heads.append(gate @ v[:, part] / gate.sum())
        h = readout.mixer.to_out(torch.cat(heads))
        torch.testing.assert_close(z[s], h + readout.ffn(readout.norm(h)), rtol=0, atol=1e-12)


@pytest.mark.parity
def test_it_equals_the_pooling_head_of_siglip_on_the_same_weights():
    siglip = pytest.importorskip("transformers.models.siglip.modeling_siglip")
    config = siglip.SiglipVisionConfig(hidden_size=12, intermediate_size=20, num_attention_heads=3)
    peer = siglip.SiglipMultiheadAttentionPoolingHead(config)
    readout = AttentionReadout(12, heads=3, ffn=Part(Plain, hidden=20, activation="gelu_tanh"))
    torch.nn.init.normal_(peer.probe)
    state = {
        "query": peer.probe[0],
        "mixer.to_qkv.weight": peer.attention.in_proj_weight,
        "mixer.to_qkv.bias": torch.nn.init.normal_(peer.attention.in_proj_bias),
        **{f"mixer.to_out.{name}": value for name, value in peer.attention.out_proj.state_dict().items()},
        **{f"norm.{name}": value for name, value in peer.layernorm.state_dict().items()},
        **{f"ffn.to_hidden.{name}": value for name, value in peer.mlp.fc1.state_dict().items()},
        **{f"ffn.to_out.{name}": value for name, value in peer.mlp.fc2.state_dict().items()},
    }
    readout.load_state_dict(state)
    x = torch.randn(2, 63, 12)
    torch.testing.assert_close(readout(Tokens(x)), peer(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mask", "bias", "memory"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_was_not_made_for_its_query_raises(name, packed):
    value = Tokens(torch.randn(1, 3, 4)) if name == "memory" else torch.ones(5, 5).bool()
    side = Side(cu_seqlens=torch.tensor([0, 2, 5])) if packed else Side()
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        AttentionReadout(4, heads=2)(Tokens(torch.randn(1, 5, 4), side.replace(**{name: value})))
