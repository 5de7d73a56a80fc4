"""Statistics of attention weights against the whole matrix of weights in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.kernels import tile_product
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import reference
from unimodal.kernels.rule_statistics import NAMES
from unimodal.kernels.rule_statistics import rule_attention_with_statistics as typed

rule_attention_with_statistics: Any = typed
RULES = {
    "softmax": Rule(level=0.7),
    "causal softmax": Rule(causal=True),
    "softmax in a window": Rule(window=4, scale=0.3),
    "sigmoid": Rule("sigmoid", None),
    "causal sigmoid": Rule("sigmoid", -1.0, causal=True),
}


def problem(queries: int = 30, keys: int = 30, *, batch: int = 2, heads: int = 4) -> dict[str, Tensor]:
    shapes = {"q": (batch, heads, queries, 8), "k": (batch, heads // 2, keys, 8), "v": (batch, heads // 2, keys, 5)}
    return {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}


def equation(q, k, v, rule, before=None, after=None, bias=None, mask=None, lengths=None) -> list[Tensor]:
    """Log-sum-exp, entropy of shares and column sums, query by query from its list of seen keys."""
    (batch, heads, queries, width), keys = q.shape, k.shape[2]
    found = [q.new_full((batch, heads, queries), float("-inf")), q.new_zeros(q.shape[:3])]
    columns = q.new_zeros(batch, heads, keys)
    for b in range(batch):
        count = keys if lengths is None else int(lengths[b])
        level = -torch.tensor(float(max(count, 1))).double().log() if rule.level is None else rule.level
        for h in range(heads):
            for n in range(queries):
                d = torch.arange(keys) - n - (keys - queries)
                seen = (torch.arange(keys) < count) & (~torch.tensor(rule.causal) | (d <= 0))
                seen = seen if rule.window is None else seen & (d.abs() <= rule.window)
                seen = seen if mask is None else seen & mask.expand(batch, heads, queries, keys)[b, h, n]
                if not seen.any():
                    continue
                scale = width**-0.5 if rule.scale is None else rule.scale
                logit = scale * k[b, h // 2, seen] @ q[b, h, n] + level
                if before is not None:
                    logit = logit + before[h, before.shape[1] // 2 + d[seen]]
                if bias is not None:
                    logit = logit + bias.expand(batch, heads, queries, keys)[b, h, n, seen]
                weight = logit.softmax(0) if rule.weights == "softmax" else logit.sigmoid()
                share = weight / weight.sum()
                found[0][b, h, n] = logit.logsumexp(0)
                found[1][b, h, n] = -(share * share.log()).sum()
                factor = 1.0 if after is None else after[h, after.shape[1] // 2 + d[seen]]
                columns[b, h, seen] += weight * factor
    return [*found, columns]


def assert_as_the_equation(leaves: dict[str, Tensor], rule: Rule, **terms: Any) -> None:
    expected = equation(**leaves, rule=rule, **terms)
    for dtype, allowed in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        used = {n: t.to(dtype) for n, t in leaves.items()}
        cast = {n: t.to(dtype) if t.is_floating_point() else t for n, t in terms.items()}
        out, statistics = rule_attention_with_statistics(**used, rule=rule, **cast)
        whole = reference(**leaves, rule=rule, **terms)
        torch.testing.assert_close(out.double(), whole, rtol=allowed, atol=allowed)
        for got, want in zip(statistics, expected, strict=True):
            torch.testing.assert_close(got.double(), want, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("queries, keys", [(30, 30), (17, 30), (30, 17), (1, 1)])
@pytest.mark.parametrize("name", RULES)
def test_all_three_are_those_of_the_whole_matrix(name, queries, keys):
    assert_as_the_equation(problem(queries, keys), RULES[name])


@pytest.mark.parametrize("name", RULES)
def test_terms_masks_and_padding_are_seen(name):
    before, after = torch.randn(2, 4, 59, dtype=torch.float64)
    assert_as_the_equation(problem(), RULES[name], before=before, after=1 + after / 4)
    mask = torch.rand(2, 1, 30, 30) < 0.3
    mask[:, :, 3] = False
    assert_as_the_equation(problem(), RULES[name], bias=torch.randn(30, dtype=torch.float64), mask=mask)
    assert_as_the_equation(problem(), RULES[name], lengths=torch.tensor([30, 0]))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")
@pytest.mark.parametrize("name", RULES)
def test_tiles_that_go_head_by_head_give_the_same(name, monkeypatch):
    monkeypatch.setattr(tile_product, "FEWEST_CELLS", {torch.float32: 0})
    assert_as_the_equation(problem(), RULES[name])
    leaves = {n: t.float() for n, t in problem().items()}
    every = rule_attention_with_statistics(**leaves, rule=RULES[name])[1]
    _, alone = rule_attention_with_statistics(**leaves, rule=RULES[name], wanted=("column_sums",))
    assert alone.logsumexp is None
    assert alone.entropy is None
    torch.testing.assert_close(alone.column_sums, every.column_sums, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_packed_sequences_have_the_statistics_of_each_alone(name):
    leaves, cu = problem(batch=1), torch.tensor([0, 12, 12, 30], dtype=torch.int32)
    out, packed = rule_attention_with_statistics(**leaves, rule=RULES[name], cu_seqlens=cu)
    for span in (slice(0, 12), slice(12, 30)):
        one, alone = rule_attention_with_statistics(**{n: t[:, :, span] for n, t in leaves.items()}, rule=RULES[name])
        torch.testing.assert_close(out[:, :, span], one)
        for a, b in zip(packed, alone, strict=True):
            torch.testing.assert_close(a[:, :, span], b)


def test_columns_of_a_softmax_sum_to_its_queries_and_equal_keys_have_the_largest_entropy():
    leaves = problem()
    _, statistics = rule_attention_with_statistics(**leaves)
    torch.testing.assert_close(statistics.column_sums.sum(-1), torch.full((2, 4), 30.0).double())
    _, flat = rule_attention_with_statistics(leaves["q"], 0 * leaves["k"], leaves["v"])
    torch.testing.assert_close(flat.entropy, torch.full((2, 4, 30), 30.0).double().log())


def test_the_output_has_its_gradient_and_the_statistics_have_none():
    leaves = {n: t.requires_grad_() for n, t in problem().items()}
    out, statistics = rule_attention_with_statistics(**leaves, rule=Rule("sigmoid", None))
    assert [x.requires_grad for x in statistics] == [False] * 3
    made = torch.autograd.grad(out.square().sum(), list(leaves.values()))
    whole = reference(**leaves, rule=Rule("sigmoid", None))
    for a, b in zip(made, torch.autograd.grad(whole.square().sum(), list(leaves.values())), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
def test_the_operator_obeys_the_rules_of_torch_operators():
    tensors = (*(t.requires_grad_() for t in problem(5, 7).values()), *(None,) * 6)
    for wanted in ([True, True, True], [False, False, True]):
        arguments = (*tensors, "softmax", 0.0, True, 3, None, wanted)
        torch.library.opcheck(torch.ops.unimodal.rule_attention_with_statistics.default, arguments)


def test_an_exported_program_holds_the_operator():
    class Seen(torch.nn.Module):
        def forward(self, q, k, v):
            out, statistics = rule_attention_with_statistics(q, k, v)
            return out, statistics.column_sums

    leaves = tuple(problem().values())
    program = torch.export.export(Seen(), leaves)
    assert "unimodal.rule_attention_with_statistics" in str(program.graph)
    torch.testing.assert_close(program.module()(*leaves), Seen()(*leaves))


def test_memory_grows_linearly_with_the_sequence(peak_growth):
    program = """
from unimodal.kernels.rule_statistics import rule_attention_with_statistics
run = lambda n: rule_attention_with_statistics(*(torch.randn(1, 1, n, 16) for _ in range(3)))
"""
    kilobytes = peak_growth(program, "256", "16384")
    assert kilobytes < 40_000, f"{kilobytes} kB; one 16384 x 16384 matrix of scores takes 1048576 kB"


def test_an_unknown_name_other_dtypes_and_what_attention_refuses_raise():
    leaves = problem()
    with pytest.raises(ValueError, match="wanted holds names of logsumexp, entropy, column_sums, not 'rows'"):
        rule_attention_with_statistics(**leaves, wanted=(*NAMES, "rows"))
    with pytest.raises(ValueError, match="of one dtype, not of torch.float32 on cpu"):
        rule_attention_with_statistics(leaves["q"].float(), leaves["k"], leaves["v"])
    with pytest.raises(ValueError, match="mask must be boolean"):
        rule_attention_with_statistics(**leaves, mask=torch.ones(30, 30))
