"""Image records: points and maps between a model's pixels and the original's."""

import json

import pytest
import torch

from unimodal.reading.geometry import ImageRecord

CROPPED = ImageRecord(width=50, height=31, size=(16, 24), scale=(1.5, 1.25), offset=(7.0, 5.5), stride=8)


def slow_bilinear(values: torch.Tensor, record: ImageRecord) -> torch.Tensor:
    """Each original pixel's centre looked up in a map (y, x) over the whole model picture, one by one."""
    y, x = values.shape
    out = torch.full((record.height, record.width), float("nan"), dtype=torch.float64)
    for row in range(record.height):
        for column in range(record.width):
            at_x = (column + 0.5 - record.offset[0]) / record.scale[0]
            at_y = (row + 0.5 - record.offset[1]) / record.scale[1]
            if not (0 <= at_x <= record.size[1] and 0 <= at_y <= record.size[0]):
                continue
            u = min(max(at_x * x / record.size[1] - 0.5, 0), x - 1)
            v = min(max(at_y * y / record.size[0] - 0.5, 0), y - 1)
            i, j = int(v), int(u)
            below, right = min(i + 1, y - 1), min(j + 1, x - 1)
            upper = values[i, j] * (1 - u + j) + values[i, right] * (u - j)
            lower = values[below, j] * (1 - u + j) + values[below, right] * (u - j)
            out[row, column] = upper * (1 - v + i) + lower * (v - i)
    return out


@pytest.mark.parametrize("shape", [(16, 24), (2, 3), (5, 7), (1, 1)])
def test_a_float_map_is_interpolated_as_pixel_by_pixel(shape):
    values = torch.randn(shape, dtype=torch.float64)
    expected = slow_bilinear(values, CROPPED)
    torch.testing.assert_close(CROPPED.restore(values), expected, equal_nan=True, rtol=0, atol=1e-12)
    torch.testing.assert_close(CROPPED.restore(torch.stack([values, 2 * values]))[1], 2 * expected, equal_nan=True)


def test_labels_survive_the_way_into_a_finer_picture_and_back():
    labels = torch.randint(0, 9, (11, 13))
    fine = ImageRecord(width=13, height=11, size=(33, 39), scale=(1 / 3, 1 / 3))
    seen = labels.repeat_interleave(3, 0).repeat_interleave(3, 1)
    assert torch.equal(fine.restore(seen), labels)


def test_labels_are_never_mixed_and_cropped_pixels_get_the_fill_of_their_type():
    labels = torch.tensor([[1, 8], [3, 5]])
    out = CROPPED.restore(labels)
    assert set(out.unique().tolist()) == {-1, 1, 3, 5, 8}
    assert out[0, 0] == -1
    assert CROPPED.restore(labels.to(torch.uint8))[0, 0] == 255
    assert CROPPED.restore(labels > 2)[0, 0] == torch.tensor(False)
    assert CROPPED.restore(labels.float())[0, 0].isnan()
    assert CROPPED.restore(labels, fill=0)[0, 0] == 0
    assert CROPPED.restore(labels.float(), fill=0.5)[0, 0] == 0.5


def test_cells_of_a_stem_cover_whole_strides_and_other_maps_the_whole_picture():
    """A picture of 19 px and a stride of 8: two cells cover 16 px, three px belong to the last cell."""
    record = ImageRecord(width=19, height=8, size=(8, 19), stride=8)
    assert record.grid == (1, 2)
    assert record.restore(torch.tensor([[1, 2]]))[0].tolist() == [1] * 8 + [2] * 11
    assert record.restore(torch.arange(19)[None]).tolist() == [list(range(19))] * 8


def test_points_go_there_and_back_in_any_number_type():
    points = torch.rand(100, 2) * 40
    torch.testing.assert_close(CROPPED.to_model(CROPPED.to_original(points)), points, rtol=0, atol=1e-5)
    assert CROPPED.to_original(torch.tensor([0, 0])).tolist() == [7.0, 5.5]
    assert CROPPED.to_original(torch.tensor([[24, 16]])).tolist() == [[43.0, 25.5]]
    assert CROPPED.to_model(torch.tensor([7.0, 5.5], dtype=torch.float64)).tolist() == [0.0, 0.0]


def test_a_record_comes_back_from_json_text():
    assert ImageRecord.from_json(json.loads(json.dumps(CROPPED.to_json()))) == CROPPED


@pytest.mark.parametrize("shape", [(4,), (1, 2, 3, 4), (0, 5), (2, 3, 0)])
def test_something_that_is_no_map_is_refused(shape):
    with pytest.raises(ValueError, match="values must be a map"):
        CROPPED.restore(torch.zeros(shape))
