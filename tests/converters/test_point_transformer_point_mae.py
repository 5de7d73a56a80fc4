"""Point-MAE's classifier and pre-training encoder, in the layout of its released code, computed by the one core."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import unimodal
from unimodal.checkpoint import load_checkpoint, save
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

pytestmark = pytest.mark.parity
SMALL = {"NAME": "PointTransformer", "trans_dim": 24, "encoder_dims": 24, "depth": 3, "num_heads": 2, "cls_dim": 5}
SMALL |= {"group_size": 6, "num_group": 9, "drop_path_rate": 0.1}
PUBLISHED = SMALL | {"trans_dim": 384, "encoder_dims": 384, "depth": 12, "num_heads": 6, "cls_dim": 40}
PUBLISHED |= {"group_size": 32, "num_group": 64}


def shapes(config, *, pretraining=False):
    """Names and shapes of the released code's state dict."""
    d, out = config["trans_dim"], {}

    def affine(name, *shape, bias=True):
        out[name + ".weight"] = shape
        if bias:
            out[name + ".bias"] = shape[:1]

    def norm(name, width, *, batch=False):
        affine(name, width)
        out.update({f"{name}.running_mean": (width,), f"{name}.running_var": (width,)} if batch else {})
        out.update({f"{name}.num_batches_tracked": ()} if batch else {})

    def blocks(name, depth):
        for i in range(depth):
            norm(f"{name}.{i}.norm1", d)
            norm(f"{name}.{i}.norm2", d)
            affine(f"{name}.{i}.attn.qkv", 3 * d, d, bias=False)
            affine(f"{name}.{i}.attn.proj", d, d)
            affine(f"{name}.{i}.mlp.fc1", 4 * d, d)
            affine(f"{name}.{i}.mlp.fc2", d, 4 * d)

    at = "MAE_encoder." if pretraining else ""
    affine(at + "encoder.first_conv.0", 128, 3, 1)
    norm(at + "encoder.first_conv.1", 128, batch=True)
    affine(at + "encoder.first_conv.3", 256, 128, 1)
    affine(at + "encoder.second_conv.0", 512, 512, 1)
    norm(at + "encoder.second_conv.1", 512, batch=True)
    affine(at + "encoder.second_conv.3", d, 512, 1)
    affine(at + "pos_embed.0", 128, 3)
    affine(at + "pos_embed.2", d, 128)
    blocks(at + "blocks.blocks", config["depth"])
    norm(at + "norm", d)
    if pretraining:
        out["mask_token"] = (1, 1, d)
        affine("decoder_pos_embed.0", 128, 3)
        affine("decoder_pos_embed.2", d, 128)
        blocks("MAE_decoder.blocks", 1)
        norm("MAE_decoder.norm", d)
        affine("increase_dim.0", 3 * config["group_size"], d, 1)
        return out
    out["cls_token"] = out["cls_pos"] = (1, 1, d)
    for name, before, behind in (("0", 2 * d, 256), ("4", 256, 256), ("8", 256, config["cls_dim"])):
        affine(f"cls_head_finetune.{name}", behind, before)
    norm("cls_head_finetune.1", 256, batch=True)
    norm("cls_head_finetune.5", 256, batch=True)
    return out


def random_weights(config, **options):
    weights = {}
    for name, shape in shapes(config, **options).items():
        gain = name.endswith("weight") and len(shape) == 1
        spread = 1 / math.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.2
        weights[name] = spread * torch.randn(shape) + float(gain)
        if "running_var" in name:
            weights[name] = 0.5 + torch.rand(shape)
        elif "num_batches" in name:
            weights[name] = torch.tensor(7)
    return weights


class Oracle:
    """The released code's function in float64, group by group and head by head."""

    def __init__(self, weights, config, at=""):
        self.w = {name: tensor.double() for name, tensor in weights.items()}
        self.config, self.at = config, at

    def affine(self, name, x):
        weight = self.w[name + ".weight"].flatten(1)
        return x @ weight.T + self.w.get(name + ".bias", torch.zeros(len(weight)).double())

    def layer_norm(self, name, x):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.w[name + ".weight"] + self.w[name + ".bias"]

    def batch_norm(self, name, x):
        scaled = (x - self.w[name + ".running_mean"]) / (self.w[name + ".running_var"] + 1e-5).sqrt()
        return scaled * self.w[name + ".weight"] + self.w[name + ".bias"]

    def groups(self, points):
        chosen = [0]
        while len(chosen) < self.config["num_group"]:
            near = torch.stack([(points - points[c]).square().sum(-1) for c in chosen]).min(0).values
            chosen.append(int(near.argmax()))
        for c in chosen:
            order = (points - points[c]).square().sum(-1).argsort()[: self.config["group_size"]]
            yield points[c], points[order] - points[c]

    def token(self, group):
        at = self.at + "encoder."
        f = self.affine(at + "first_conv.0", group)
        f = self.affine(at + "first_conv.3", self.batch_norm(at + "first_conv.1", f).clamp(min=0))
        both = torch.cat([f.max(0).values.expand_as(f), f], -1)
        h = self.batch_norm(at + "second_conv.1", self.affine(at + "second_conv.0", both)).clamp(min=0)
        return self.affine(at + "second_conv.3", h).max(0).values

    def block(self, at, x):
        heads, width = self.config["num_heads"], x.shape[-1] // self.config["num_heads"]
        q, k, v = self.affine(at + "attn.qkv", self.layer_norm(at + "norm1", x)).chunk(3, -1)
        mixed = []
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            mixed.append(((q[:, part] @ k[:, part].T) / math.sqrt(width)).softmax(-1) @ v[:, part])
        x = x + self.affine(at + "attn.proj", torch.cat(mixed, -1))
        hidden = self.affine(at + "mlp.fc1", self.layer_norm(at + "norm2", x))
        return x + self.affine(at + "mlp.fc2", hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))

    def tokens(self, points):
        centres, x = zip(*[(centre, self.token(group)) for centre, group in self.groups(points)], strict=True)
        hidden = self.affine(self.at + "pos_embed.0", torch.stack(centres))
        p = self.affine(self.at + "pos_embed.2", hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))
        x = torch.stack(x)
        if "cls_token" in self.w:
            x, p = torch.cat([self.w["cls_token"][0], x]), torch.cat([self.w["cls_pos"][0], p])
        for i in range(self.config["depth"]):
            x = self.block(f"{self.at}blocks.blocks.{i}.", x + p)
        return self.layer_norm(self.at + "norm", x)

    def logits(self, points):
        x = self.tokens(points)
        h = torch.cat([x[0], x[1:].max(0).values])
        for layer, norm in (("0", "1"), ("4", "5")):
            h = self.batch_norm(f"cls_head_finetune.{norm}", self.affine(f"cls_head_finetune.{layer}", h)).clamp(min=0)
        return self.affine("cls_head_finetune.8", h)


@pytest.fixture
def published(tmp_path):
    def published(config=SMALL, settings=None, weights=None):
        weights = random_weights(config) if weights is None else weights
        save_file(weights, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config if settings is None else settings))
        return weights, f"point_mae:{tmp_path}"

    return published


def clouds(model, *sizes):
    tokenizer = model.tokenizer("point_cloud")
    random = np.random.default_rng(0)
    return tokenizer.collate([tokenizer.read(random.standard_normal((n, 3)) * [3, 2, 1] + 7) for n in sizes])


def test_tokens_and_logits_are_those_of_the_equations(published, parity):
    weights, spec = published()
    model, oracle = unimodal.load(spec), Oracle(weights, SMALL)
    batch = clouds(model, 300, 400, 500)
    with torch.inference_mode():
        theirs = torch.stack([oracle.logits(points.double()) for points in batch.data])
        parity("Point-MAE", "point cloud", "point_mae:<folder>", model.embed(batch).double(), theirs)
        theirs = torch.stack([oracle.tokens(points.double()) for points in batch.data])
        parity("Point-MAE", "point cloud", "point_mae:<folder>", model(batch).x.double(), theirs)


def test_clouds_of_few_points_go_through_as_they_do_alone(published, same):
    _, spec = published()
    model = unimodal.load(spec)
    batch = clouds(model, 300, 8, 40)
    assert isinstance(batch.data, tuple)
    with torch.inference_mode():
        for points, row in zip(batch.data, model.embed(batch), strict=True):
            alone = model.embed(type(batch)("point_cloud", points[None]))[0]
            same(row, alone)


def test_the_encoder_of_a_pre_training_checkpoint_is_taken_without_its_decoder(published, parity):
    settings = {key: SMALL[key] for key in ("group_size", "num_group")} | {"NAME": "Point_MAE", "loss": "cdl2"}
    settings["transformer_config"] = {k: SMALL[k] for k in ("trans_dim", "encoder_dims", "depth", "num_heads")}
    weights = random_weights(SMALL, pretraining=True)
    on_several = {f"module.{name}": tensor for name, tensor in weights.items()}
    _, spec = published(settings={"model": settings, "npoints": 200}, weights=on_several)
    loaded: Any = load_with_info(spec)
    model, info = loaded
    batch, oracle = clouds(model, 300, 300), Oracle(weights, SMALL, "MAE_encoder.")
    assert batch.data.shape == (2, 200, 3)
    with torch.inference_mode():
        theirs = torch.stack([oracle.tokens(points.double()) for points in batch.data])
        parity("Point-MAE", "point cloud", "point_mae:<folder>", model(batch).x.double(), theirs)
        torch.testing.assert_close(model.embed(batch), model(batch).x.mean(1))
    assert {name.split(".")[0] for name in info.card["conversion"]["set aside"]} == {
        *("mask_token", "decoder_pos_embed", "MAE_decoder", "increase_dim")
    }


def test_the_classifier_has_the_published_number_of_parameters(published):
    """22.1 M: Pang et al. 2022, table 1 gives it for ScanObjectNN, with 15 classes."""
    weights, spec = published(PUBLISHED | {"cls_dim": 15})
    loaded: Any = load_with_info(spec)
    model, info = loaded
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == sum(w.numel() for n, w in weights.items() if "running" not in n and "num_batches" not in n)
    assert round(parameters / 1e6, 1) == 22.1
    assert info.card["conversion"]["folded"] == 0
    assert model.tokenizer("point_cloud").points == 1024


def test_a_converted_model_is_saved_and_loaded_as_our_own(published, tmp_path):
    _, spec = published()
    loaded: Any = load_with_info(spec)
    model, info = loaded
    save(model, tmp_path / "ours", part=info.part, provenance=info.provenance)
    again: Any = load_checkpoint(tmp_path / "ours")[0]
    batch = clouds(model, 300)
    assert torch.equal(again.embed(batch), model.embed(batch))


def test_a_pickled_checkpoint_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "modelnet_1k.pth").write_bytes(b"\x80\x02")
    causes = {tmp_path: "has no model.safetensors .*modelnet_1k.pth", tmp_path / "modelnet_1k.pth": "pickled"}
    for name, cause in causes.items():
        with pytest.raises(CheckpointError, match=f"{cause}.*; where you trust the .pth file, save its 'base_model'"):
            unimodal.load(f"point_mae:{name}")


@pytest.mark.parametrize(
    "change, cause",
    [
        ({"NAME": "DGCNN"}, "NAME is 'DGCNN'; it may be PointTransformer or Point_MAE"),
        ({"depth": None}, "config.json has no number 'depth'"),
        ({"encoder_dims": 256}, "encoder_dims is 256"),
    ],
)
def test_settings_that_do_not_fit_are_named(published, change, cause):
    _, spec = published(settings=SMALL | change)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)


def test_a_left_over_tensor_is_an_error_with_a_report(published):
    _, spec = published(weights=random_weights(SMALL) | {"lm_head.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"1 are unexpected[\s\S]*lm_head\.weight"):
        unimodal.load(spec)
