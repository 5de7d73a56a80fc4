"""The group encoder against its equations, point by point."""

import pytest
import torch

from unimodal.group_encoder import GroupEncoder


@pytest.fixture
def encoder():
    encoder = GroupEncoder(5, channels=4, widths=(6, 7, 8)).double()
    for name, tensor in encoder.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if "var" in name else tensor.normal_()
    return encoder.eval()


def slowly(encoder, group):
    def norm(bn, v):
        return (v - bn.running_mean) / (bn.running_var + bn.eps).sqrt() * bn.weight + bn.bias

    def affine(linear, v):
        return linear.weight @ v + linear.bias

    f = [affine(encoder.to_local, norm(encoder.norm_lift, affine(encoder.lift, p)).relu()) for p in group]
    most = torch.stack(f).max(0).values
    h = [norm(encoder.norm_join, affine(encoder.join, torch.cat([most, f_k]))).relu() for f_k in f]
    return torch.stack([affine(encoder.to_out, h_k) for h_k in h]).max(0).values


def test_it_equals_the_equations(encoder):
    groups = torch.randn(2, 3, 9, 4, dtype=torch.float64)
    out = encoder(groups)
    assert out.shape == (2, 3, 5)
    for b in range(2):
        for g in range(3):
            torch.testing.assert_close(out[b, g], slowly(encoder, groups[b, g]))


def test_neither_order_nor_repetition_of_points_matters(encoder):
    groups = torch.randn(1, 2, 9, 4, dtype=torch.float64)
    again = torch.cat([groups.flip(2), groups[:, :, :4]], 2)
    torch.testing.assert_close(encoder(again), encoder(groups), rtol=0, atol=1e-13)


def test_statistics_in_training_are_over_all_points_of_the_batch(encoder):
    groups = torch.randn(3, 2, 9, 4, dtype=torch.float64)
    encoder.train()
    encoder.norm_lift.momentum = 1.0
    encoder(groups)
    lifted = encoder.lift(groups).flatten(0, 2)
    torch.testing.assert_close(encoder.norm_lift.running_mean, lifted.mean(0))
    torch.testing.assert_close(encoder.norm_lift.running_var, lifted.var(0))


def test_it_has_the_published_number_of_parameters():
    """Point-MAE's encoder of width 384: four maps and two norms."""
    count = sum(p.numel() for p in GroupEncoder(384).parameters())
    assert count == (3 * 128 + 128) + 2 * 128 + (128 * 256 + 256) + (512 * 512 + 512) + 2 * 512 + (512 * 384 + 384)
