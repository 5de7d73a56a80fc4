"""Sound records: cells, samples and values back in seconds and amplitudes of the sound that was given."""

import json
import math

import pytest
import torch

from unimodal.reading.sound_record import SoundRecord

# 3 s at 8 kHz; the model heard 1 s to 2.2 s of it, in four cells of 0.3 s
RECORD = SoundRecord(8000, 2, 3.0, 1.0, 1.2, 16_000, 19_200, 0.25, 2.0, (8, 4), 0.15, 0.3, "WAV")


def test_cells_lie_where_the_seconds_were_heard():
    torch.testing.assert_close(RECORD.seconds(torch.arange(4)), torch.tensor([1.15, 1.45, 1.75, 2.05]).double())
    expected = torch.tensor([[1.0, 1.3], [1.3, 1.6], [1.6, 1.9], [1.9, 2.2]]).double()
    torch.testing.assert_close(RECORD.spans(), expected)


def test_labels_come_back_over_the_whole_sound_and_unheard_seconds_are_marked():
    back = RECORD.restore(torch.tensor([5, 6, 7, 8]), rate_hz=10.0)
    assert back.tolist() == [-1] * 10 + [5] * 3 + [6] * 3 + [7] * 3 + [8] * 3 + [-1] * 8
    mask = RECORD.restore(torch.ones(4, dtype=torch.bool), rate_hz=10.0)
    assert mask.tolist() == [False] * 10 + [True] * 12 + [False] * 8


def test_values_are_interpolated_between_the_middles_of_cells():
    line = RECORD.seconds(torch.arange(4))
    back = RECORD.restore(torch.stack([line, -line]), rate_hz=100.0)
    assert back.shape == (2, 300)
    when = (torch.arange(300).double() + 0.5) / 100
    heard = (when > 1) & (when < 2.2)
    assert torch.equal(back[0].isfinite(), heard)
    torch.testing.assert_close(back[0, heard], when[heard].clamp(1.15, 2.05))
    torch.testing.assert_close(back[1, heard], -back[0, heard])
    assert RECORD.restore(line, rate_hz=100.0, fill=7.0)[0] == 7.0


def test_samples_come_back_in_their_own_amplitude():
    assert torch.equal(RECORD.amplitude(torch.tensor([0.0, 0.5])), torch.tensor([0.25, 1.25]))


def test_a_record_goes_through_json():
    assert SoundRecord.from_json(json.loads(json.dumps(RECORD.to_json()))) == RECORD


def test_it_says_whether_all_was_heard():
    assert not RECORD.whole
    assert SoundRecord(8000, 1, 1.5, 0.0, 1.5, 8000, 12_000).whole


@pytest.mark.parametrize("shape", [(3,), (2, 5), ()])
def test_values_that_are_not_one_a_cell_are_refused(shape):
    with pytest.raises(ValueError, match=r"the record \(4,\) cells along time"):
        RECORD.restore(torch.zeros(shape))


def test_a_sound_shorter_than_a_step_of_the_wanted_rate_has_one_value():
    short = SoundRecord(8000, 1, 0.001, 0.0, 0.001, 8000, 8, grid=(1,), first_s=0.01, step_s=0.02)
    assert RECORD.restore(torch.zeros(4), rate_hz=0.1).shape == (1,)
    assert short.restore(torch.ones(1)).shape == (1,)
    assert math.isfinite(short.restore(torch.ones(1), rate_hz=1000.0))
