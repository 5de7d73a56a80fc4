"""A copy over the same tensors."""

import torch
import torch.nn as nn

from unimodal.sharing_copy import sharing_copy


def test_modules_are_its_own_and_tensors_are_shared_also_those_that_occur_twice():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    twin = sharing_copy(module)
    assert not set(module.modules()) & set(twin.modules())
    for name, tensor in module.state_dict(keep_vars=True).items():
        assert twin.state_dict(keep_vars=True)[name] is tensor
    assert twin[2].weight is twin[0].weight
    twin[1] = nn.Identity()
    assert isinstance(module[1], nn.BatchNorm1d)


def test_training_one_trains_both():
    module = nn.Linear(2, 2)
    twin = sharing_copy(module)
    with torch.no_grad():
        twin.weight.add_(1.0)
    assert torch.equal(module.weight, twin.weight)
