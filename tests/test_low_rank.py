"""Low-rank terms: their equation, what is trained, and merging."""

from typing import Any, cast

import pytest
import torch
import torch.nn as nn

from unimodal.low_rank import adapt, merge
from unimodal.mixers.full import Full
from unimodal.mixers.located import Located
from unimodal.recipes.pre_norm import pre_norm
from unimodal.side import Side
from unimodal.tokens import Tokens


def model(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return pre_norm(depth=2, heads=4, hidden=64)(32).eval().to(dtype)


def tokens(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(3, 7, 32, dtype=dtype)


def embedded(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net(Tokens(x)).x.mean(1)


def trained(net: nn.Module, steps: int = 5) -> nn.Module:
    x, wanted = tokens(next(net.parameters()).dtype), torch.randn(3, 32, dtype=next(net.parameters()).dtype)
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.5)
    for _ in range(steps):
        loss = (embedded(net, x) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net


def test_a_map_with_a_term_is_the_equation_in_loops():
    plain = nn.Linear(3, 2).double()
    net: Any = adapt(nn.Sequential(plain), rank=2, alpha=6.0, where="0").model
    term = net[0]
    with torch.no_grad():
        term.low_rank_out.normal_()
    x = torch.randn(3, dtype=torch.float64)
    for o in range(2):
        wanted = plain.bias[o].item()
        for i in range(3):
            u_v = sum(term.low_rank_out[o, r].item() * term.low_rank_in[r, i].item() for r in range(2))
            wanted += (plain.weight[o, i].item() + 6.0 / 2 * u_v) * x[i].item()
        assert net(x)[o].item() == pytest.approx(wanted, abs=1e-14)


def test_before_training_it_is_the_model_bit_for_bit():
    net, x = model(torch.float32), tokens(torch.float32)
    assert torch.equal(embedded(adapt(net).model, x), embedded(net, x))


def test_only_the_terms_are_trained_and_the_rest_stays_bit_for_bit():
    net = model()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found = adapt(net, rank=3)
    after = trained(found.model).state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    terms = {k: v for k, v in after.items() if ".low_rank_" in k}
    assert set(after) - set(before) == set(terms)
    assert found.trained == sum(v.numel() for v in terms.values()) == 2 * 3 * ((32 + 96) + (32 + 32))
    assert len(found.names) == 8  # two matrices for each of four maps
    assert found.total == sum(v.numel() for v in net.parameters())


@pytest.mark.parametrize("dtype, allowed", [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_merging_gives_the_same_function_with_the_models_own_names(dtype, allowed):
    net = model(dtype)
    tuned = trained(adapt(net, rank=4, alpha=8).model)
    merged, x = merge(tuned), tokens(dtype)
    assert list(merged.state_dict()) == list(net.state_dict())
    assert all(type(m) is not nn.Linear or m.weight.shape == (m.out_features, m.in_features) for m in merged.modules())
    gap = (embedded(merged, x) - embedded(tuned, x)).abs().max() / embedded(tuned, x).abs().max()
    assert gap < allowed
    assert (embedded(merged, x) - embedded(net, x)).abs().max() > 1e-3


def test_terms_load_into_another_copy():
    net = model()
    tuned = trained(adapt(net).model)
    terms = {k: v for k, v in tuned.state_dict().items() if ".low_rank_" in k}
    other, x = adapt(net).model, tokens()
    _missing, unexpected = other.load_state_dict(terms, strict=False)
    assert not unexpected
    assert torch.equal(embedded(other, x), embedded(tuned, x))


def test_terms_of_a_rank_too_small_cannot_learn_what_a_full_one_can():
    torch.manual_seed(0)
    target = torch.randn(8, 8, dtype=torch.float64)
    start: Any = nn.Sequential(nn.Linear(8, 8, bias=False).double())
    with torch.no_grad():
        start[0].weight.zero_()
    x, gaps = torch.eye(8, dtype=torch.float64), {}
    for rank in (2, 8):
        net = adapt(start, rank=rank, where="0").model
        solver = torch.optim.LBFGS([p for p in net.parameters() if p.requires_grad], max_iter=400)

        def closure(net=net, solver=solver):
            solver.zero_grad()
            loss = (net(x) - target.T).square().sum()
            loss.backward()
            return loss

        solver.step(closure)  # pyright: ignore[reportArgumentType]
        gaps[rank] = (net(x) - target.T).square().sum().item()
    best = torch.linalg.svdvals(target)[2:].square().sum().item()  # Eckart & Young 1936
    assert gaps[2] == pytest.approx(best, rel=1e-3)
    assert gaps[8] < 1e-6


def test_wrong_requests_raise():
    net = model()
    with pytest.raises(ValueError, match="rank must be positive, not 0"):
        adapt(net, rank=0)
    with pytest.raises(ValueError, match="matches no linear map; their last names are"):
        adapt(net, where="to_nowhere")
    with pytest.raises(ValueError, match="merge them first"):
        adapt(adapt(net).model)


@pytest.mark.parametrize("mixer", [Full, Located])
def test_parts_that_read_rows_of_a_map_read_its_term_too(mixer):
    net: Any = adapt(nn.Sequential(mixer(8, heads=2).double()), where=r"to_qkv$").model
    nn.init.normal_(net[0].to_qkv.low_rank_out)
    merged: Any = merge(net)
    plain, x, memory = merged[0], tokens()[..., :8], Tokens(tokens()[..., 8:16])
    for side in (Side(memory=memory), Side(positions=memory.x)):
        torch.testing.assert_close(net[0](x, side), plain(x, side), rtol=0, atol=1e-12)


def test_the_first_tokens_weights_have_the_term_in_them():
    net: Any = adapt(nn.Sequential(Full(8, heads=2).double()), where=r"to_qkv$").model
    nn.init.normal_(net[0].to_qkv.low_rank_out)
    plain, x = cast(Any, merge(net))[0], tokens()[..., :8]
    torch.testing.assert_close(net[0].first_weights(x), plain.first_weights(x), rtol=0, atol=1e-12)
