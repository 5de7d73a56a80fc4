"""Inflation: a clip of one picture has the picture's features, where and when the cards say; what fits nowhere."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.inflation import inflate
from unimodal.recipes.uniformer import uniformer
from unimodal.sample import Batch

TINY: dict[str, Any] = {"depths": (1, 1, 2, 1), "widths": (8, 12, 16, 24), "head_width": 8, "image": 32, "classes": 5}


def of_pictures() -> Any:
    """Weights of such sizes, and norms with statistics such, that every part matters."""
    model: Any = uniformer(**TINY)().double()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.ndim > 1:
            torch.nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(tensor, 0.4, 1.6)
        else:
            torch.nn.init.normal_(tensor, mean=float(name.endswith("weight")), std=0.2)
    return model.eval()


def features(model: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Of each stage (B, T, N, D), and the logits."""
    batch = Batch("video" if pixels.ndim == 5 else "image", pixels)
    found = model.features(batch, [1, 2, 3, 4])
    frames = [f.side.grid[0] if pixels.ndim == 5 else 1 for f in found]
    return [*(f.x.unflatten(1, (t, -1)) for f, t in zip(found, frames, strict=True)), model.embed(batch)]


def inflated(source: Any, **options: Any) -> Any:
    """Built in float64, so that no weight is rounded."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return inflate(source.state_dict(), uniformer(modality="video", **TINY), **options).model.eval()
    finally:
        torch.set_default_dtype(usual)


def still(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.randn(1, 3, 32, 64, dtype=torch.float64)
    return picture, picture[:, :, None].expand(-1, -1, frames, -1, -1)


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    assert float(other.std()) > 0.1
    torch.testing.assert_close(one, other.expand_as(one), rtol=0, atol=1e-11)


def test_the_middle_alone_gives_the_pictures_features_and_logits_at_every_time():
    source, (picture, clip) = of_pictures(), still(6)
    with torch.inference_mode():
        for own, other in zip(features(inflated(source, centre=True), clip), features(source, picture), strict=True):
            close(own, other)


def test_with_the_ends_of_time_repeated_every_stage_is_that_of_the_picture(monkeypatch):
    source, (picture, clip) = of_pictures(), still(6)
    model, convolve = inflated(source), F.conv3d

    def repeated(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, *rest: Any, **more: Any):
        ends = (0, 0, 0, 0, padding[0], padding[0])
        return convolve(F.pad(x, ends, mode="replicate"), weight, bias, stride, (0, *padding[1:]), *rest, **more)

    with torch.inference_mode():
        expected = features(source, picture)
        monkeypatch.setattr(F, "conv3d", repeated)
        for own, other in zip(features(model, clip), expected, strict=True):
            close(own, other)


def test_with_zeros_before_and_after_a_clip_local_stages_agree_in_the_middle_of_time_alone():
    source, (picture, clip) = of_pictures(), still(32)
    with torch.inference_mode():
        found, expected = features(inflated(source), clip), features(source, picture)
    for i in (0, 1):  # of 16 tokens in time the stem spoils the first one, each local block three more at both ends
        spoiled = 3 * (i + 1)
        close(found[i][:, 1 + spoiled : 16 - spoiled], expected[i])
        apart = (found[i] - expected[i]).abs().amax((0, 2, 3))
        assert bool((apart[[0, spoiled, -1, -spoiled]] > 1e-6).all())


def test_every_kernel_is_repeated_along_time_over_its_length_or_stands_in_the_middle():
    weights, part = of_pictures().state_dict(), uniformer(modality="video", **TINY)
    for centre in (False, True):
        report = inflate(weights, part, centre=centre)
        state = report.model.state_dict()
        assert {*report.copied, *report.inflated} == {*state}
        assert not report.own
        assert not report.dropped
        for name in report.inflated:
            kernel, frames = weights[name.replace("video", "image")].float(), state[name].shape[2]
            assert bool((state[name].sum(2) - kernel).abs().max() < 1e-6)
            others = [t for t in range(frames) if t != frames // 2]
            assert torch.equal(state[name][:, :, others], torch.zeros_like(state[name][:, :, others])) is (
                centre or frames == 1
            )
        kernels = [name for name in report.inflated if "blocks" in name]
        assert len(kernels) == 5 + 2
        assert len(report.inflated) == len(kernels) + 1 + 3


def test_a_classifier_of_other_classes_keeps_its_own_values():
    weights, options = of_pictures().state_dict(), {**TINY, "classes": 7}
    report = inflate(weights, uniformer(modality="video", **options), own=("readout.readout.project",))
    names = ("readout.readout.project.weight", "readout.readout.project.bias")
    assert report.own == report.dropped == names


@pytest.mark.parametrize(
    "change, message",
    [
        ({"classes": 7}, "2 have another shape"),
        ({"depths": (1, 1, 3, 1)}, "are missing"),
        ({"depths": (1, 1, 1, 1)}, "are unexpected"),
    ],
)
def test_weights_that_fit_nowhere_are_refused_with_a_report(change, message):
    with pytest.raises(ValueError, match=f"do not fit the model of clips: .*{message}"):
        inflate(of_pictures().state_dict(), uniformer(modality="video", **{**TINY, **change}))
