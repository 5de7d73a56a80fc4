"""The token picture: where each number lies, that nothing is lost, layouts, and refusals."""

from typing import Any

import pytest
import torch

from unimodal.ffns.plain import Plain
from unimodal.mixers.depthwise import Depthwise
from unimodal.part import Part
from unimodal.pyramid import Pyramid
from unimodal.residual import Residual
from unimodal.side import Side
from unimodal.stems.halving_convolution import HalvingConvolutionStem
from unimodal.token_picture import TokenPicture
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

BLOCK = Part(Residual, branch=(Part(Depthwise), Part(Plain)))
CORE = Part(Pyramid, stages=(Part(Transformer, depth=1, blocks=BLOCK),))


def built(dim: int, **options: Any) -> Any:
    torch.manual_seed(0)
    return TokenPicture(dim, **{"width": 8, "core": CORE, **options}).double().eval()


@pytest.mark.parametrize(
    "count, dim, sizes", [(64, 64, (64, 64)), (48, 768, (192, 192)), (5, 6, (5, 6)), (7, 1, (1, 7)), (10, 9, (9, 10))]
)
def test_numbers_lie_row_by_row_on_the_squarest_picture_and_come_back(count, dim, sizes):
    layout, x = built(dim), torch.randn(2, count, dim, dtype=torch.float64)
    picture = layout.picture(x)
    assert picture.shape == (2, 1, *sizes)
    for n in (0, count // 2, count - 1):
        for d in (0, dim - 1):
            row, column = divmod(n * dim + d, sizes[1])
            assert torch.equal(picture[:, 0, row, column], x[:, n, d])
    assert torch.equal(layout.tokens(picture), x)


def test_the_core_gets_the_stems_cells_of_that_picture():
    layout, x = built(6), torch.randn(2, 20, 6, dtype=torch.float64)
    cells = layout.stem(layout.picture(x))
    made = layout(Tokens(x, Side(grid=(20,), modality="time_series")))
    expected = layout.core(Tokens(cells.flatten(2).mT, Side(grid=tuple(cells.shape[2:]))))
    assert torch.equal(made.x, expected.x)
    assert made.side.grid == (3, 3)
    assert made.side.modality == "time_series"
    assert layout.width == 8


def test_sequences_of_different_lengths_give_what_each_gives_alone():
    layout, lengths = built(6), (20, 8, 20)
    rows = [torch.randn(1, n, 6, dtype=torch.float64) for n in lengths]
    packed = Tokens(torch.cat(rows, 1), Side(cu_seqlens=torch.tensor([0, 20, 28, 48], dtype=torch.int32)))
    for tokens in (packed, packed.padded()):
        for several, row in zip(layout(tokens).split(), rows, strict=True):
            torch.testing.assert_close(several, layout(Tokens(row)).x[0])


def test_it_round_trips():
    part = Part(TokenPicture, width=8, core=CORE)
    assert Part.from_json(part.to_json()) == part


def test_a_stem_of_three_channels_is_refused():
    with pytest.raises(ValueError, match="stem must take 1 channel, not 3"):
        built(6, stem=Part(HalvingConvolutionStem))


def test_causal_order_is_refused():
    with pytest.raises(ValueError, match="causal"):
        built(6)(Tokens(torch.randn(1, 4, 6, dtype=torch.float64), Side(causal=True)))
