"""open_clip's towers, saved by its own export, computed by the one core."""

import importlib
from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

open_clip = pytest.importorskip("open_clip")
EXPORT = importlib.import_module("open_clip.push_to_hf_hub")  # the package has a function of this name
pytestmark = pytest.mark.parity
IMAGE = {"layers": 2, "width": 48, "head_width": 16, "patch_size": 8, "image_size": 32}
TEXT = {"layers": 2, "width": 36, "heads": 3, "vocab_size": 60, "context_length": 12}
TEXTS = [[58, 3, 4, 5, 59], [58, 59], [58, *range(1, 11), 59]]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "QuickGELU": {"quick_gelu": True},
    "own text tower": {"custom_text": True},
    "average without pre-norm": {"vision_cfg": {**IMAGE, "pool_type": "avg", "no_ln_pre": True, "mlp_ratio": 3.0}},
    "layer scale": {"vision_cfg": {**IMAGE, "ls_init_value": 0.1}, "text_cfg": {**TEXT, "ls_init_value": 0.1}},
    "other eps": {"vision_cfg": {**IMAGE, "norm_kwargs": {"eps": 1e-3}}},
    "affine projection": {"custom_text": True, "text_cfg": {**TEXT, "proj_bias": True}},
    "logit bias": {"init_logit_bias": -10.0},
}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(**changes: Any) -> Any:
        config = {"embed_dim": 20, "vision_cfg": IMAGE, "text_cfg": TEXT, **changes}
        build = dict(config)
        custom = build.pop("custom_text", False)
        peer = randomise((open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**build))
        peer.visual.image_mean, peer.visual.image_std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
        peer.visual.preprocess_cfg = {"interpolation": "bicubic", "resize_mode": "shortest"}
        EXPORT.save_for_hf(peer, _NoFiles(), config, str(tmp_path), safe_serialization=True)
        return peer, f"open_clip:{tmp_path}"

    return saved


class _NoFiles:
    """A tokenizer without files of its own: open_clip ships the table that these weights use."""

    def save_pretrained(self, folder: object) -> None:
        pass


def filled(texts: list[list[int]]) -> torch.Tensor:
    return torch.tensor([ids + [0] * (12 - len(ids)) for ids in texts])


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("images", [3, 5])
def test_the_image_tower_is_the_peers(saved, pixels, same, parity, name, images):
    peer, spec = saved(**VARIANTS[name])
    model = unimodal.load(spec)
    batch = pixels(images, 32, 32)
    with torch.inference_mode():
        parity("CLIP", "image", "open_clip:ViT-B-16/openai", model.embed(batch), peer.encode_image(batch.data))
        peer.visual.output_tokens = True
        same(model(batch).lattice().x, peer.visual(batch.data)[1])


@pytest.mark.parametrize("name", VARIANTS)
def test_the_text_tower_is_the_peers(saved, same, parity, name):
    peer, spec = saved(**VARIANTS[name])
    model = unimodal.load(spec, tower="text")
    text = model.tokenizers["text"]
    with torch.inference_mode():
        for texts in (TEXTS, TEXTS[:2]):
            batch = text.collate([text.read(ids) for ids in texts])
            theirs = peer.encode_text(filled(texts))
            parity("CLIP", "text", "open_clip:ViT-B-16/openai", model.embed(batch), theirs)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_of_both_towers_is_accounted_for(saved, name):
    peer, spec = saved(**VARIANTS[name])
    _, info = load_with_info(spec)
    account = info.card["conversion"]
    assert account["folded"] == 48
    aside = len(account["scalars"])
    assert sum(account["converted"].values()) + 48 + aside == sum(p.numel() for p in peer.parameters())
    assert account["scalars"]["logit_scale"] == peer.logit_scale.item()


def test_the_position_table_resamples_to_another_size_as_open_clip_resizes_a_checkpoint(saved, same):
    peer, spec = saved()
    state = peer.state_dict()
    bigger = open_clip.CLIP(embed_dim=20, vision_cfg={**IMAGE, "image_size": 48}, text_cfg=TEXT).eval()
    open_clip.model.resize_pos_embed(state, bigger)
    bigger.load_state_dict(state)
    batch = unimodal.Batch("image", torch.randn(3, 3, 48, 48))
    with torch.inference_mode():
        same(unimodal.load(spec).embed(batch), bigger.encode_image(batch.data))


def test_strings_become_the_ids_of_open_clips_tokenizer():
    text = unimodal.Part(unimodal.Catalog("tokenizers")["text"])(8)
    for words in ("a photo of a cat", "", "Ünïcode,  twice   spaced", "long " * 200):
        theirs = open_clip.tokenize([words])[0]
        ids = text.read(words).data
        assert ids.tolist() == theirs[: theirs.argmax() + 1].tolist()


@pytest.mark.parametrize(
    "changes, cause",
    [
        ({"vision_cfg": {**IMAGE, "attentional_pool": True, "attn_pooler_heads": 4}}, "attentional_pool is True"),
        ({"text_cfg": {**TEXT, "embed_cls": True}}, "embed_cls is True"),
        ({"text_cfg": {**TEXT, "no_causal_mask": True}}, "no_causal_mask is True"),
        ({"vision_cfg": {**IMAGE, "qk_norm": True}}, "qk_norm is True"),
    ],
)
def test_what_the_core_cannot_do_is_refused_by_name(saved, changes, cause):
    _, spec = saved(**changes)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)


def test_pictures_reach_the_stem_as_through_open_clips_own_transform(saved, photo, normalised):
    _, spec = saved(vision_cfg={**IMAGE, "image_size": 224, "patch_size": 16})
    theirs = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(size=224, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)), is_train=False
    )(photo)[None]
    ours = normalised(unimodal.load(spec))
    assert ours.shape == theirs.shape
    # Ours cuts and resizes in one step: at the cut its filter sees nothing behind the edge.
    assert 255 * 0.3 * (ours - theirs).abs()[..., 3:-3, 3:-3].max() < 1.51
