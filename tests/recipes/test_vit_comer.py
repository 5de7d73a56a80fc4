"""ViT-CoMer: the released code's counts, the plain transformer at init, pyramids of all sizes, gradients, influence."""

from typing import Any

import pytest
import torch

from unimodal.inherit import inherit
from unimodal.part import Part
from unimodal.pretrained import load_with_info
from unimodal.readouts.mean import Mean
from unimodal.recipes.vit import vit
from unimodal.recipes.vit_comer import vit_comer
from unimodal.sample import Batch

# Parameters of the released code's detection backbone without its ViT's, with cnn_feature_interaction on and ratio 1.
PUBLISHED = [
    ("tiny", 192, 3_211_232),
    ("small", 384, 8_333_408),
    ("base", 768, 29_418_368),
    ("large", 1024, 51_134_528),
]
# Of its whole segmentation backbone with the settings of its configs; it has D more, the class token's position.
STAGED = [
    ("tiny", 192, 6.0, 1.0, 10_619_360),
    ("small", 384, 1.5, 1.0, 31_280_480),
    ("base", 768, 1.0, 0.5, 110_603_648),
]


def counted(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def on_meta(*args: Any, **options: Any) -> Any:
    with torch.device("meta"):
        return vit_comer(*args, **options)()


def small() -> tuple[Part, Part]:
    """The adapter around a ViT of four blocks with a class token, and that ViT."""
    plain = vit("tiny", image=64)
    plain = plain.replace(transformer=plain.kwargs["transformer"].replace(depth=4))
    return vit_comer("tiny", encoder=plain), plain


def pictures(*sizes: int, count: int = 2) -> Batch:
    return Batch("image", torch.randn(count, 3, *sizes))


def heard(model: Any) -> Any:
    """The same with gamma away from 0 and norms in use away from the identity."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name.endswith(("gamma", "running_var")):
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
        elif "beside" in name and tensor.ndim == 4:
            torch.nn.init.normal_(tensor, std=(2 / tensor[0].numel()) ** 0.5)
    return model.eval()


@pytest.mark.parametrize("size, dim, count", PUBLISHED)
def test_the_adapter_has_the_released_parameter_count(size, dim, count):
    model = on_meta(size)
    encoder = (model.transformer.core, model.tokenizers["image"].tokenizer, model.positions)
    assert counted(model) - sum(counted(part) for part in encoder) == count


@pytest.mark.parametrize("size, dim, spread, value, count", STAGED)
def test_the_segmentation_backbone_has_the_released_parameter_count(size, dim, spread, value, count):
    assert counted(on_meta(size, spread_ratio=spread, value_ratio=value, staged=True)) + dim == count


def test_at_first_the_transformers_tokens_are_exactly_those_without_the_adapter():
    adapted, plain = (part().eval() for part in small())
    new = inherit(adapted, plain)
    assert sum(adapted.get_parameter(name).numel() for name in new) == 3_211_232
    with torch.inference_mode():
        batch = pictures(64, 96)
        assert torch.equal(adapted(batch).x, plain(batch).x)
        assert torch.equal(adapted.embed(batch), plain.embed(batch))
        heard(adapted)
        assert not torch.isclose(adapted(batch).x, plain(batch).x).all(-1).any()


@pytest.mark.parametrize("rows, columns", [(64, 64), (64, 96), (75, 100), (48, 17)])
def test_features_are_a_pyramid_of_four_strides_for_pictures_of_any_size(rows, columns):
    model: Any = heard(small()[0]())
    with torch.inference_mode():
        levels = model.features(pictures(rows, columns), [0, 1, 2, 3, 4])
    m, n = rows // 16, columns // 16
    expected = [(m, n), (4 * m, 4 * n), (2 * m, 2 * n), (m, n), (-(-m // 2), -(-n // 2))]
    assert [level.side.grid for level in levels] == expected
    assert [level.x.shape for level in levels[1:]] == [(2, a * b, 192) for a, b in expected[1:]]
    assert model.strides("image") == (16, 4, 8, 16, 32)
    assert all(level.x.isfinite().all() for level in levels)


def test_a_batch_of_several_sizes_gives_each_picture_what_it_has_alone():
    model: Any = heard(small()[0]())
    given = [torch.randn(3, *sizes) for sizes in ((32, 48), (64, 32), (32, 48))]
    with torch.inference_mode():
        both = model.features(Batch("image", tuple(given)), [1, 4])
        stream = model(Batch("image", tuple(given))).split()
        for i, picture in enumerate(given):
            alone = Batch("image", picture[None])
            for level, single in zip(both, model.features(alone, [1, 4]), strict=True):
                torch.testing.assert_close(level.split()[i], single.x[0], rtol=0, atol=2e-5)
            torch.testing.assert_close(stream[i], model(alone).x[0], rtol=0, atol=2e-5)


def test_the_gradient_reaches_gamma_first_and_a_frozen_transformer_trains():
    model: Any = small()[0]().train()
    adapter = model.transformer
    for part in (adapter.core, model.tokenizers["image"].tokenizer, model.positions, model.prefix):
        part.requires_grad_(False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer, batch, losses = torch.optim.Adam(trained, lr=1e-3), pictures(64, 64), []
    targets = [torch.randn_like(level.x) for level in model.features(batch, [1, 2, 3, 4])]
    for step in range(3):
        levels = model.features(batch, [1, 2, 3, 4])
        loss = sum((level.x - to).square().mean() for level, to in zip(levels, targets, strict=True))
        optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportAttributeAccessIssue]
        losses.append(loss.item())  # pyright: ignore[reportAttributeAccessIssue]
        gammas = [part.gamma.grad for part in adapter.into_tokens]
        assert all(bool(grad.any()) for grad in gammas)
        assert bool(adapter.into_tokens[0].mixer.to_value.weight.grad.any()) == bool(step)
        optimizer.step()
    assert losses[-1] < losses[0]
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert all(any(name == own for own, q in model.named_parameters() if q.requires_grad) for name in moved)
    assert {f"transformer.into_tokens.{i}.gamma" for i in range(4)} <= moved


@pytest.mark.parametrize("group, kernel", [(0, 3), (1, 5)])
def test_each_kernel_of_the_pyramid_matters(group, kernel):
    model: Any = heard(small()[0]())
    own = model.transformer.spread[0].parts[1].parts
    assert [part.parts[0].parts[group].kernel for part in own] == [kernel] * 3
    batch = pictures(64, 64)
    with torch.inference_mode():
        before = model.features(batch, [1, 2, 3, 4])
        own[0].parts[0].parts[group].weight.add_(0.5)
        after = model.features(batch, [1, 2, 3, 4])
    assert all(not torch.isclose(a.x, b.x).all() for a, b in zip(before, after, strict=True))


def test_pixels_and_not_only_patches_reach_the_pyramid():
    model: Any = heard(small()[0]())
    torch.nn.init.zeros_(model.tokenizers["image"].tokenizer.stem.project.weight)
    with torch.inference_mode():
        one, other = (model.features(pictures(64, 64), [4])[0].x for _ in range(2))
    assert not torch.isclose(one, other).all()


def test_it_is_a_part_that_round_trips():
    part = vit_comer("small", drop_path=0.2, encoder=vit("small", readout=Part(Mean)))
    assert Part.from_json(part.to_json()) == part
    rates = [block.feed.drop_path for block in on_meta("small", drop_path=0.2).transformer.extra]
    assert rates == [0.2] * 4


def test_an_unknown_size_and_an_encoder_without_pictures_are_refused():
    with pytest.raises(ValueError, match="size must be one of tiny, small, base, large"):
        vit_comer("huge")
    encoder = vit("tiny")
    with pytest.raises(ValueError, match="encoder must read pictures, not sound"):
        vit_comer("tiny", encoder=encoder.replace(tokenizers={"sound": encoder.kwargs["tokenizers"]["image"]}))


@pytest.mark.parity
def test_timms_plain_transformer_is_what_the_adapted_one_is_at_first(tmp_path):
    timm = pytest.importorskip("timm")
    settings = {"embed_dim": 48, "depth": 4, "num_heads": 3, "img_size": 64, "num_classes": 7}
    peer = timm.create_model("vit_tiny_patch16_224", **settings, dynamic_img_size=True).eval()
    timm.models.save_for_hf(peer, tmp_path, model_args=settings, safe_serialization=True)
    plain: Any
    plain, info = load_with_info(f"timm:{tmp_path}")
    adapted: Any = vit_comer("tiny", encoder=info.part)().eval()
    inherit(adapted, plain)
    batch = pictures(64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(adapted(batch).x, peer.forward_features(batch.data), rtol=0, atol=1e-5)
        torch.testing.assert_close(adapted.embed(batch), peer(batch.data), rtol=0, atol=1e-5)
        assert [level.x.shape[1] for level in adapted.features(batch, [1, 2, 3, 4])] == [256, 64, 16, 4]
