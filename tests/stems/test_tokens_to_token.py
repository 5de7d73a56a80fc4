"""The tokens-to-token stem: its equations in loops, its lattices, and how far a pixel reaches in one split."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.attention.token_performer import TokenPerformerAttention
from unimodal.part import Part
from unimodal.stems.tokens_to_token import TokensToTokenStem

WIDTH, CHANNELS = 3, 2
SCALED = tuple(Part(SoftmaxAttention, scale=n**-0.5) for n in (49 * CHANNELS, 9 * WIDTH))
FULL: dict[str, Any] = {"attention": SCALED, "bias": False}
RANDOM: dict[str, Any] = {"attention": (Part(TokenPerformerAttention, features=2, width=WIDTH),) * 2}


def split(map_CYX: torch.Tensor, size: int, stride: int, padding: int) -> torch.Tensor:
    """Every window's values, channel by channel, row by row; zeros behind the edges."""
    channels, rows, columns = map_CYX.shape
    tokens = []
    for top in range(-padding, rows + padding - size + 1, stride):
        for left in range(-padding, columns + padding - size + 1, stride):
            places = [(c, top + i, left + j) for c in range(channels) for i in range(size) for j in range(size)]
            inside = [0 <= y < rows and 0 <= x < columns for _, y, x in places]
            zero = map_CYX.new_zeros(())
            tokens.append(torch.stack([map_CYX[p] if ok else zero for p, ok in zip(places, inside, strict=True)]))
    return torch.stack(tokens)


def attended(step: Any, x_NF: torch.Tensor, weight) -> torch.Tensor:
    h_NF = F.layer_norm(x_NF, x_NF.shape[1:], step.norm_mixer.weight, step.norm_mixer.bias, 1e-5)
    q, k, v = step.to_qkv(h_NF).chunk(3, -1)
    rows = []
    for n in range(len(x_NF)):
        weights = torch.stack([weight(q[n], k[m]) for m in range(len(x_NF))])
        rows.append(v[n] + step.to_out((weights[:, None] * v).sum(0) / weights.sum()))
    y = torch.stack(rows)
    h = F.layer_norm(y, y.shape[1:], step.norm_ffn.weight, step.norm_ffn.bias, 1e-5)
    return y + step.ffn.to_out(F.gelu(step.ffn.to_hidden(h)))


def exponential(inputs: int):
    return lambda q, k: torch.exp((q * k).sum() * inputs**-0.5)


def estimate(rows: torch.Tensor):
    def phi(x):
        return torch.exp(rows @ x - (x * x).sum() / 2) / len(rows) ** 0.5

    return lambda q, k: (phi(q) * phi(k)).sum()


@pytest.mark.parametrize("settings", [FULL, RANDOM])
def test_it_equals_the_equations(settings):
    torch.manual_seed(0)
    stem: Any = TokensToTokenStem(5, width=WIDTH, channels=CHANNELS, **settings).double().eval()
    pixels = torch.randn(1, CHANNELS, 16, 32, dtype=torch.float64)
    x_NF, grid = split(pixels[0], 7, 4, 2), (4, 8)
    for step in stem.steps:
        assert x_NF.shape[0] == grid[0] * grid[1]
        weight = exponential(x_NF.shape[1]) if settings is FULL else estimate(step.attention.rows)
        map_KYX = attended(step, x_NF, weight).T.reshape(WIDTH, *grid)
        x_NF, grid = split(map_KYX, 3, 2, 1), (grid[0] // 2, grid[1] // 2)
    expected = stem.project(x_NF).T.reshape(5, *grid)
    torch.testing.assert_close(stem(pixels)[0], expected, rtol=0, atol=1e-7)  # 1e-8 in the denominator


def test_a_soft_split_is_unfold():
    pixels = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    for size, stride, padding in ((7, 4, 2), (3, 2, 1)):
        assert torch.equal(split(pixels[0], size, stride, padding), F.unfold(pixels[:1], size, 1, padding, stride)[0].T)


@pytest.mark.parametrize("rows, columns", [(224, 224), (160, 288)])
def test_the_lattices_of_the_steps_have_the_papers_sizes(rows, columns):
    stem: Any = TokensToTokenStem(6).eval()
    seen = []
    for step in stem.steps:
        step.register_forward_hook(lambda _, given, out: seen.append((given[0].shape[1:], out.shape[1:])))
    assert stem(torch.randn(1, 3, rows, columns)).shape == (1, 6, rows // 16, columns // 16)
    tokens = rows * columns // 16
    assert seen == [((tokens, 147), (tokens, 64)), ((tokens // 4, 576), (tokens // 4, 64))]


@pytest.mark.parametrize("place, windows", [((32, 32), 4), ((33, 33), 1), ((31, 33), 2), ((35, 35), 4), ((0, 0), 1)])
def test_a_pixel_is_in_as_many_windows_of_the_first_split_as_overlap_there(place, windows):
    stem: Any = TokensToTokenStem(6, **{**FULL, "attention": RANDOM["attention"]}, width=WIDTH, channels=CHANNELS)
    seen = []
    stem.steps[0].register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    pixels = torch.randn(1, CHANNELS, 64, 64)
    changed = pixels.clone()
    changed[..., place[0], place[1]] += 1
    stem(pixels)
    stem(changed)
    touched = (seen[0] != seen[1]).any(-1).reshape(16, 16).nonzero().tolist()
    y, x = place
    expected = [[i, j] for i in range(16) for j in range(16) if 0 <= y - 4 * i + 2 < 7 and 0 <= x - 4 * j + 2 < 7]
    assert touched == expected
    assert len(touched) == windows


def test_the_residual_is_the_values_and_not_the_input():
    torch.manual_seed(0)
    stem: Any = TokensToTokenStem(5, width=WIDTH, channels=CHANNELS, **FULL)
    step = stem.steps[0]
    for parameter in (*step.to_out.parameters(), *step.ffn.to_out.parameters()):
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 6, 49 * CHANNELS)
    torch.testing.assert_close(step(x), step.to_qkv(step.norm_mixer(x)).chunk(3, -1)[2])


def test_pixels_behind_the_last_whole_square_have_no_influence():
    stem = TokensToTokenStem(6).eval()
    pixels = torch.randn(1, 3, 50, 37)
    changed = pixels.clone()
    changed[:, :, 48:], changed[..., 32:] = 9.0, 9.0
    assert torch.equal(stem(pixels), stem(changed))
    assert stem(pixels).shape == (1, 6, 3, 2)


def test_dropout_acts_while_training_only():
    stem = TokensToTokenStem(6, dropout=0.5)
    pixels = torch.randn(1, 3, 32, 32)
    assert not torch.equal(stem(pixels), stem(pixels))
    stem.eval()
    assert torch.equal(stem(pixels), stem(pixels))


def test_a_picture_smaller_than_a_square_is_refused():
    with pytest.raises(ValueError, match="at least 16 x 16 px"):
        TokensToTokenStem(6)(torch.randn(1, 3, 15, 40))
