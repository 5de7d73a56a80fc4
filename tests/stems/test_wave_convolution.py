"""The stem ``wave_convolution`` against its equation, torch's one-dimensional layers, and what must not matter."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.stems.wave_convolution import WaveConvolutionStem

BASE: dict[str, Any] = {"kernels": (10, 3, 3, 3, 3, 2, 2), "strides": (5, 2, 2, 2, 2, 2, 2)}


def randomise(stem: Any) -> Any:
    for parameter in stem.parameters():
        torch.nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.5)
    return stem


def slow(stem: Any, wave: torch.Tensor) -> torch.Tensor:
    """(D, N) of one sound, place by place."""
    h = [[x.item()] for x in wave]  # places, channels
    for i, (kernel, stride) in enumerate(zip(stem.kernels, stem.strides, strict=True)):
        layer = stem.convolutions[i]
        out = []
        for n in range((len(h) - kernel) // stride + 1):
            place = layer.bias.clone() if layer.bias is not None else torch.zeros(len(layer.weight)).double()
            for k in range(kernel):
                place = place + layer.weight[:, :, 0, k] @ torch.tensor(h[n * stride + k], dtype=torch.float64)
            out.append(place)
        table = torch.stack(out)
        if i < len(stem.norms):
            over = 0 if len(stem.norms) == 1 else 1
            centred = table - table.mean(over, keepdim=True)
            table = centred / (centred.square().mean(over, keepdim=True) + 1e-5).sqrt()
            table = table * stem.norms[i].weight + stem.norms[i].bias
        h = (0.5 * table * (1 + torch.erf(table / 2**0.5))).tolist()
    table = torch.tensor(h, dtype=torch.float64)
    centred = table - table.mean(1, keepdim=True)
    table = (
        centred / (centred.square().mean(1, keepdim=True) + stem.norm.eps).sqrt() * stem.norm.weight + stem.norm.bias
    )
    return stem.project.weight @ table.T + stem.project.bias[:, None]


@pytest.mark.parametrize("norms, bias", [("first", False), ("each", True)])
@torch.no_grad()
def test_it_equals_the_equation(norms, bias):
    settings: Any = {"kernels": (4, 3), "strides": (3, 2), "width": 5, "norms": norms, "bias": bias}
    stem = randomise(WaveConvolutionStem(3, channels=1, eps=1e-3, **settings)).double()
    waves = torch.randn(2, 1, 1, 29, dtype=torch.float64)
    cells = stem(waves)
    assert cells.shape == (2, 3, *stem.cells((1, 29)))
    for ours, wave in zip(cells, waves, strict=True):
        torch.testing.assert_close(ours[:, 0], slow(stem, wave[0, 0]))


def test_the_published_strides_make_a_cell_every_20_ms_out_of_25_ms():
    stem = WaveConvolutionStem(4, width=8, channels=1, **BASE)
    assert [stem.cells((1, samples))[1] for samples in (399, 400, 719, 720, 16_000)] == [0, 1, 1, 2, 49]
    assert stem(torch.randn(1, 1, 1, 16_000)).shape == (1, 4, 1, 49)


def test_with_a_norm_over_the_sound_loudness_has_no_influence_and_otherwise_cells_are_local():
    wave = torch.randn(1, 1, 1, 400, dtype=torch.float64)
    first, each = (WaveConvolutionStem(4, width=8, channels=1, norms=n).double() for n in ("first", "each"))
    torch.testing.assert_close(first(1000 * wave), first(100 * wave), rtol=1e-4, atol=1e-4)
    changed = wave.clone()
    changed[..., -1] += 1.0
    assert torch.equal(each(changed)[..., :-1], each(wave)[..., :-1])
    assert not torch.equal(first(changed)[..., 0], first(wave)[..., 0])


def test_the_first_layer_is_torchs_one_dimensional_one():
    stem: Any = WaveConvolutionStem(4, kernels=(10,), strides=(5,), width=8, channels=1)
    wave = torch.randn(2, 1, 1, 60)
    h = F.conv1d(wave[:, 0], stem.convolutions[0].weight[:, :, 0], stride=5)
    h = F.gelu(F.instance_norm(h))
    torch.testing.assert_close(stem(wave)[:, :, 0], stem.project(stem.norm(h.mT)).mT, rtol=1e-5, atol=1e-5)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="kernels and strides must be as many"):
        WaveConvolutionStem(4, kernels=(3,), strides=(1, 2))
    with pytest.raises(ValueError, match="norms must be 'first' or 'each', not 'none'"):
        WaveConvolutionStem(4, norms="none")
