"""The light UniFormers: published counts and costs, the released network written out, class token, sizes, layouts."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.multiply_adds import multiply_adds
from unimodal.part import Part
from unimodal.recipes.uniformer import uniformer
from unimodal.sample import Batch

TINY: dict[str, Any] = {"depths": (1, 1, 3, 2), "widths": (8, 12, 16, 24), "head_width": 8, "image": 64}
# Parameters with 1000 classes by the released code; size of the picture in px and 1e9 multiply-adds in its README.
PUBLISHED = [
    ("xxs", 10_215_280, {128: 0.43, 160: 0.67, 192: 0.96, 224: 1.3}),
    ("xs", 16_509_264, {192: 1.4, 224: 2.0}),
]


def randomised(model: Any) -> Any:
    """Weights of the usual spread, and norms that have statistics, factors and shifts of their own."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.ndim > 1:
            torch.nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(tensor, 0.4, 1.6)
        else:
            torch.nn.init.normal_(tensor, mean=float(name.endswith("weight")), std=0.2)
    return model.double().eval()


def tiny(size: str = "xxs", **options: Any) -> Any:
    return randomised(uniformer(size, classes=5, **TINY, **options)())


def pixels(*sizes: int, rows: int = 2) -> Tensor:
    return torch.randn(rows, 3, *sizes, dtype=torch.float64)


@pytest.mark.parametrize("size, parameters, costs", PUBLISHED)
def test_counts_and_multiply_adds_are_those_published(size, parameters, costs):
    part = uniformer(size, classes=1000)
    assert Part.from_json(part.to_json()) == part
    with torch.device("meta"):
        model: Any = part().eval()
        for side, billions in costs.items():
            counted = multiply_adds(model.embed, Batch("image", torch.zeros(1, 3, side, side)))
            assert counted / 1e9 == pytest.approx(billions, rel=0.035)
    assert sum(p.numel() for p in model.parameters()) == parameters


def written_out(state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The released network of one picture on maps (1, D, Y, X), from the weights alone: logits and stages."""

    def affine(h: Tensor, name: str) -> Tensor:
        return h * state[f"{name}.weight"].view(-1, 1, 1) + state[f"{name}.bias"].view(-1, 1, 1)

    def batch(h: Tensor, name: str) -> Tensor:
        mean, var = (state[f"{name}.running_{kind}"].view(-1, 1, 1) for kind in ("mean", "var"))
        return affine((h - mean) / (var + 1e-5).sqrt(), name)

    def layer(h: Tensor, name: str, eps: float) -> Tensor:
        return F.layer_norm(h, h.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def line(h: Tensor, name: str) -> Tensor:
        return h @ state[f"{name}.weight"].mT + state[f"{name}.bias"]

    def on_map(of_rows: Any, h: Tensor, *names: Any) -> Tensor:
        return of_rows(h.movedim(1, -1), *names).movedim(-1, 1)

    def fed(h: Tensor, name: str) -> Tensor:
        return line(F.gelu(line(h, f"{name}.to_hidden")), f"{name}.to_out")

    def convolved(h: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(h, weight, state[f"{name}.bias"], stride, (weight.shape[-1] - 1) // 2, groups=groups)

    for i in (0, 1):
        name = "tokenizers.image.stem"
        x = batch(convolved(x, f"{name}.convolutions.{i}", 2), f"{name}.norms.{i}")
        x = x if i else F.gelu(x)
    found, token, score = [], torch.empty(0), torch.empty(0)
    for i, depth in enumerate(TINY["depths"]):
        if i:
            name = f"transformer.between.{i - 1}" + (".shrink" if i == 3 else "")
            x = on_map(layer, convolved(x, f"{name}.convolution", 2), f"{name}.behind", 1e-5)
        if i == 2:
            token = state["transformer.stages.2.prefix.tokens"]
        if i == 3:
            pooled = F.avg_pool2d(score.view(1, *found[2].shape[2:]), 2).flatten()
            token, score = line(token, "transformer.between.2.to_prefix"), pooled * score.sum() / pooled.sum()
        for j in range(depth):
            core = f"transformer.stages.{i}" + (".core" if i == 2 else "")
            block = f"{core}.blocks.{j}"
            if i < 2:
                name = f"{block}.parts"
                x = x + convolved(x, f"{name}.0.branch.0", groups=x.shape[1])
                h = on_map(line, batch(x, f"{name}.1.branch.0"), f"{name}.1.branch.1.project")
                h = convolved(h, f"{name}.1.branch.2", groups=x.shape[1])
                x = x + on_map(line, h, f"{name}.1.branch.3.project")
                x = x + on_map(fed, batch(x, f"{name}.2.branch.0"), f"{name}.2.branch.1")
                continue
            x = x + convolved(x, f"{core}.positions.{j}.branch.0", groups=x.shape[1])
            rows = x[0].flatten(1).T
            kept = len(rows) // 2 if len(score) else len(rows)
            order = score.argsort(descending=True) if len(score) else torch.arange(kept)
            info, rest = rows[order[:kept]], rows[order[kept:]]
            shares = (score[order[kept:]] / score[order[kept:]].sum())[:, None] if len(rest) else rest[:, :1]
            z = torch.cat([token, info, *([(shares * rest).sum(0, keepdim=True)] if len(rest) else [])])
            h = line(layer(z, f"{block}.norm_mixer", 1e-6), f"{block}.mixer.to_qkv")
            q, k, v = h.unflatten(-1, (3, -1, 8)).movedim(0, 2)
            share = (q @ k.mT * 8**-0.5).softmax(-1)
            looked = share[:, 0, 1 : 1 + kept].mean(0)
            score = (
                looked if not len(score) else score.index_add(0, order[:kept], looked - score[order[:kept]], alpha=0.5)
            )
            mixed = line((share @ v).movedim(0, 1).flatten(1), f"{block}.mixer.to_out")
            added = fed(layer(z + mixed, f"{block}.norm_ffn", 1e-6), f"{block}.ffn")
            y, fast = z + mixed + added, (mixed + added)[-1]
            token, recovered = y[:1], torch.empty_like(rows)
            recovered[order[:kept]], recovered[order[kept:]] = y[1 : 1 + kept], rest + fast
            x = recovered.T.reshape(x.shape)
        found.append(x)
    z = batch(x, "readout.readout.chain.parts.0").flatten(2).mean(2)
    return line(z, "readout.readout.readout.project"), found


@pytest.mark.parametrize("sizes", [(96, 96), (75, 131), (64, 161)])
def test_it_is_the_released_networks_equations(sizes):
    model, data = tiny(), pixels(*sizes, rows=1)
    with torch.inference_mode():
        logits, stages = written_out(model.state_dict(), data)
        features = model.features(Batch("image", data), [1, 2, 3, 4])
        torch.testing.assert_close(model.embed(Batch("image", data)), logits, rtol=0, atol=1e-11)
    for feature, stage in zip(features, stages, strict=True):
        assert feature.side.grid == stage.shape[2:]
        torch.testing.assert_close(feature.x[:, feature.side.prefix :], stage.flatten(2).mT, rtol=0, atol=1e-11)
    assert float(logits.std()) > 0.1


def test_features_have_the_strides_that_are_told_and_the_last_two_a_class_token():
    model = tiny()
    with torch.inference_mode():
        features = model.features(Batch("image", pixels(75, 131)), [1, 2, 3, 4])
    assert model.strides("image")[1:] == (4, 8, 16, 32)
    assert [f.side.grid for f in features] == [(19, 33), (9, 16), (4, 8), (2, 4)]
    assert [f.side.prefix for f in features] == [0, 0, 1, 1]
    assert [f.x.shape[-1] for f in features] == [8, 12, 16, 24]


def test_pictures_of_mixed_sizes_in_one_batch_give_what_each_gives_alone():
    model, pictures = tiny(), [pixels(*sizes, rows=1)[0] for sizes in ((75, 131), (64, 64), (96, 50))]
    with torch.inference_mode():
        together = model.embed(Batch("image", tuple(pictures)))
        alone = torch.cat([model.embed(Batch("image", x[None])) for x in pictures])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


def test_the_class_token_has_an_influence_through_what_it_looks_at():
    model, data = tiny(), Batch("image", pixels(96, 96))
    with torch.inference_mode():
        z = model.embed(data)
        model.transformer.stages[2].prefix.tokens.neg_()
        assert float((model.embed(data) - z).abs().max()) > 1e-3


def test_every_parameter_gets_a_finite_gradient():
    torch.manual_seed(1)  # each of the two readouts is drawn
    model = tiny().train()
    model.embed(Batch("image", pixels(96, 64, rows=8))).square().mean().backward()
    assert not [k for k, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not [k for k, p in model.named_parameters() if not p.grad.any() and not k.endswith("to_qkv.bias")]


def test_stages_of_other_relations_get_a_class_token_where_the_first_of_the_last_ones_begins():
    for relations, prefixes in (("LLLH", [0, 0, 0, 1]), ("LGHH", [0, 0, 1, 1]), ("LHHH", [0, 1, 1, 1])):
        widths = {"widths": (8, 16, 16, 24)}
        model = randomised(uniformer("xxs", classes=5, relations=relations, **{**TINY, **widths})())
        with torch.inference_mode():
            features = model.features(Batch("image", pixels(64, 64)), [1, 2, 3, 4])
        assert [f.side.prefix for f in features] == prefixes


def test_an_exported_program_gives_what_the_model_gives():
    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = tiny()

        def forward(self, x: Tensor) -> Tensor:
            return self.model.embed(Batch("image", x))

    model, x = Embedding().eval(), pixels(96, 64)
    program: Any = torch.export.export(model, (x,)).module()
    with torch.inference_mode():
        other = pixels(96, 64)
        torch.testing.assert_close(program(other), model(other), rtol=1e-10, atol=1e-10)
