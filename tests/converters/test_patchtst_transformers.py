"""transformers' PatchTST, random everywhere, against the same weights in the core."""

from types import MappingProxyType
from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers: Any = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

TINY = MappingProxyType(
    {
        "num_input_channels": 3,
        "context_length": 50,
        "patch_length": 12,
        "patch_stride": 5,
        "d_model": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 24,
        "prediction_length": 9,
        "pooling_type": None,
        "num_targets": 4,
    }
)


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "PatchTSTModel", **settings: Any) -> tuple[Any, str]:
        peer = getattr(transformers, kind)(transformers.PatchTSTConfig(**{**TINY, **settings}))
        randomise(peer)
        for name, buffer in peer.named_buffers():
            if name.endswith("running_mean"):
                torch.nn.init.normal_(buffer)
            elif name.endswith("running_var"):
                torch.nn.init.uniform_(buffer, 0.5, 2.0)
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.fixture
def windows() -> torch.Tensor:
    """Four windows of three channels, of different levels and sizes."""
    return 5 + torch.randn(4, 50, 3).cumsum(1) * torch.tensor([0.1, 1.0, 40.0])


def collated(model: Any, windows: torch.Tensor) -> Any:
    tokenizer = model.tokenizers["time_series"]
    return tokenizer.collate([tokenizer.read(window) for window in windows])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm_type": "layernorm", "pre_norm": False, "positional_encoding_type": "random"},
        {"use_cls_token": True, "activation_function": "relu", "bias": False},
        {"scaling": "mean", "patch_stride": 12},
        {"scaling": None, "pre_norm": False},
        {"num_input_channels": 1, "context_length": 37},
    ],
)
def test_tokens_are_the_peers(saved, windows, same, settings):
    peer, spec = saved(**settings)
    windows = windows[:, : peer.config.context_length, : peer.config.num_input_channels]
    model: Any = unimodal.load(spec)
    with torch.inference_mode():
        theirs = peer(past_values=windows).last_hidden_state
        ours = model(collated(model, windows)).x
    same(ours.unflatten(0, theirs.shape[:2]), theirs)


def test_forecasts_are_the_peers_in_the_series_own_units(saved, windows, parity):
    peer, spec = saved("PatchTSTForPrediction")
    model: Any = unimodal.load(spec)
    batch = collated(model, windows)
    with torch.inference_mode():
        theirs = peer(past_values=windows).prediction_outputs
        scaled = model.embed(batch).unflatten(0, (4, 3))
    ours = torch.stack([record.restore(z.mT) for record, z in zip(batch.records, scaled, strict=True)])
    assert ours.shape == (4, 9, 3)
    parity("PatchTST", "time series", "transformers:ibm-granite/granite-timeseries-patchtst", ours, theirs)


@pytest.mark.parametrize("settings", [{"pooling_type": "mean"}, {"use_cls_token": True}])
def test_forecasts_from_one_vector_a_channel_are_the_peers(saved, windows, same, settings):
    peer, spec = saved("PatchTSTForPrediction", scaling=None, **settings)
    model: Any = unimodal.load(spec)
    with torch.inference_mode():
        theirs = peer(past_values=windows).prediction_outputs.mT.flatten(0, 1)
        same(model.embed(collated(model, windows)), theirs)


def test_values_that_are_not_observed_count_as_the_peer_counts_them(saved, windows, same):
    peer, spec = saved()
    model: Any = unimodal.load(spec)
    seen = torch.rand(windows.shape) < 0.7
    with torch.inference_mode():
        theirs = peer(past_values=windows * seen, past_observed_mask=seen.float()).last_hidden_state
        ours = model(collated(model, windows.masked_fill(~seen, torch.nan))).x
    same(ours.unflatten(0, (4, 3)), theirs)


def test_the_classifier_of_one_channel_is_the_peers(saved, windows, same):
    peer, spec = saved("PatchTSTForClassification", num_input_channels=1, pooling_type="mean")
    model: Any = unimodal.load(spec)
    with torch.inference_mode():
        same(model.embed(collated(model, windows[..., :1])), peer(past_values=windows[..., :1]).prediction_logits)


@pytest.mark.parametrize(
    "kind, settings, why",
    [
        ("PatchTSTForPretraining", {}, "pre-training only"),
        ("PatchTSTForClassification", {"pooling_type": "mean"}, "all channels together"),
        ("PatchTSTForPrediction", {"loss": "nll"}, "gives distributions"),
        ("PatchTSTForPrediction", {"share_projection": False}, "a map for each channel"),
    ],
)
def test_other_heads_are_set_aside_and_say_why(saved, windows, kind, settings, why):
    _, spec = saved(kind, **settings)
    found: Any = load_with_info(spec)
    model, info = found
    heads = {name: reason for name, reason in info.card["conversion"]["set aside"].items() if name.startswith("head.")}
    assert heads
    assert all(why in reason for reason in heads.values())
    assert model.embed(collated(model, windows)).shape == (12, 16)


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved("PatchTSTForPrediction")
    model: Any = unimodal.load(spec)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"channel_attention": True}, "channel_attention is True"),
        ({"share_embedding": False}, "share_embedding is False"),
        ({"patch_length": 5, "patch_stride": 6}, "patch_stride is at most patch_length"),
    ],
)
def test_settings_without_a_part_are_refused_by_name(saved, settings, message):
    _, spec = saved(**settings)
    with pytest.raises(CheckpointError, match=message):
        unimodal.load(spec)


def test_max_pooling_is_refused_by_name(saved):
    _, spec = saved("PatchTSTForPrediction", pooling_type="max")
    with pytest.raises(CheckpointError, match="pooling_type is 'max'"):
        unimodal.load(spec)
