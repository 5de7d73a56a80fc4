"""Pyramid adapter: its equations written out, resized branches, linear cost, refusals; and what tells both ways."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from unimodal.accompanied import Accompanied
from unimodal.into_pyramid import IntoPyramid
from unimodal.into_tokens import IntoTokens
from unimodal.part import Part
from unimodal.prefix import Prefix
from unimodal.pyramid_adapter import PyramidAdapter
from unimodal.recipes.vit import vit
from unimodal.recipes.vit_comer import vit_comer
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens

LEVELS = ((8, 4), (4, 2), (2, 1))


def adapter_part(**options: Any) -> Part:
    plain = vit("tiny", image=64)
    core = plain.kwargs["transformer"].replace(depth=4)
    return vit_comer("tiny", encoder=plain.replace(transformer=core)).kwargs["transformer"].replace(**options)


def randomised(part: Any, *sizes: int) -> Any:
    module = part(*sizes)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name.endswith(("gamma", "running_var")):
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
        elif tensor.ndim == 1:
            torch.nn.init.normal_(tensor, mean=float("norm" in name and name.endswith("weight")), std=0.2)
    return module.double().eval()


def given(rows: int, columns: int, prefix: int = 0, scale: int = 8) -> Tokens:
    """Tokens on a lattice and what lies at their side, eight cells a token."""
    beside = Tokens(
        torch.randn(2, rows * columns * scale**2, 64, dtype=torch.float64),
        Side(grid=(rows * scale, columns * scale)),
    )
    x = torch.randn(2, prefix + rows * columns, 192, dtype=torch.float64)
    return Tokens(x, Side(grid=(rows, columns), prefix=prefix, memory=beside))


@pytest.mark.parametrize("staged", [False, True])
def test_stages_and_levels_are_the_equations(staged):
    adapter = randomised(adapter_part(staged=staged), 192)
    tokens = given(4, 2, prefix=1)
    x, at, side = tokens.x, Side(levels=LEVELS), Side(grid=(4, 2), prefix=1)
    with torch.inference_mode():
        maps = adapter.branch.features(tokens.side.memory, [2, 3, 4, 5])
        first, *rest = (project(own.x) for project, own in zip(adapter.to_levels, maps, strict=True))
        c, met = torch.cat([own + level for own, level in zip(rest, adapter.level, strict=True)], 1), []
        for i in range(4):
            c = adapter.spread[i](c, at)
            c[:, 32:40] += x[:, 1:]
            x = torch.cat([x[:, :1], x[:, 1:] + adapter.into_tokens[i](c, at, (4, 2))], 1)
            x = adapter.core.blocks[i](x, side)
            c[:, 32:40] += x[:, 1:]
            c = adapter.into_pyramid[i](c, at)
            met.append(x[:, 1:].mT.unflatten(-1, (4, 2)))
        for exchange in adapter.extra:
            c[:, 32:40] += x[:, 1:]
            c = exchange(c, at)
        c1 = first.mT.unflatten(-1, (16, 8)) + F.conv_transpose2d(
            c[:, :32].mT.unflatten(-1, (8, 4)), adapter.enlarge.weight, adapter.enlarge.bias, stride=2
        )
        maps = [c1, *(c[:, a:b].mT.unflatten(-1, n) for a, b, n in zip((0, 32, 40), (32, 40, 42), LEVELS, strict=True))]
        levels = adapter.features(tokens, [1, 2, 3, 4])
        for i, (level, scale) in enumerate(zip(levels, (4, 2, 1, 0.5), strict=True)):
            seen = met[i if staged else 3]
            seen = seen if scale == 1 else F.interpolate(seen, scale_factor=scale, mode="bilinear", align_corners=False)
            expected = adapter.norms[i]((maps[i] + seen).flatten(2).mT)
            torch.testing.assert_close(level.x, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(adapter(tokens).x, adapter.core.norm(x), rtol=0, atol=1e-10)


def test_tokens_hear_the_sum_of_all_levels_at_their_own_places():
    whole = adapter_part()
    part = randomised(Part(IntoTokens, mixer=whole.kwargs["mixer"], feed=whole.kwargs["feed"]), 192)
    at, c = Side(levels=LEVELS), torch.randn(2, 42, 192, dtype=torch.float64)
    a = part.mixer(part.norm_query(c), at.replace(memory=Tokens(part.norm_value(c), at)))
    fine, same, coarse = part.feed(a, at).split([32, 8, 2], 1)
    halves = fine.unflatten(1, (4, 2, 2, 2)).mean((2, 4)).flatten(1, 2)
    grown = F.interpolate(coarse.mT.unflatten(-1, (2, 1)), scale_factor=2.0, mode="bilinear").flatten(2).mT
    torch.testing.assert_close(part(c, at, (4, 2)), part.gamma * (halves + same + grown))
    assert not Part(IntoTokens, mixer=whole.kwargs["mixer"], feed=whole.kwargs["feed"])(192).gamma.any()


@pytest.mark.parametrize("ahead", [False, True])
def test_levels_tell_one_another_on_their_normed_stream(ahead):
    whole = adapter_part()
    mixer, feed = whole.kwargs["mixer"], whole.kwargs["feed"]
    part = randomised(Part(IntoPyramid, mixer=mixer, feed=feed, ahead=feed if ahead else None), 192)
    at, c = Side(levels=LEVELS), torch.randn(2, 42, 192, dtype=torch.float64)
    start = part.ahead(c, at) if ahead else c
    q, v = part.norm_stream(start), part.norm_value(part.norm_source(start))
    told = q + part.mixer(part.norm_query(q), at.replace(memory=Tokens(v, at)))
    torch.testing.assert_close(part(c, at), part.feed(told, at))


@pytest.mark.parametrize("scale", [7, 9])
def test_a_branch_of_other_cells_is_resized_to_the_tokens(scale):
    adapter = randomised(adapter_part(), 192)
    with torch.inference_mode():
        levels = adapter.features(given(4, 2, scale=scale), [0, 1, 4])
    assert [level.side.grid for level in levels] == [(4, 2), (16, 8), (2, 1)]


def test_the_cost_of_the_adapter_is_linear_in_the_tokens():
    with torch.device("meta"):
        adapter = adapter_part(stages=1, core=adapter_part().kwargs["core"].replace(depth=1))(192).eval()
        adapter.core.blocks[0].mixer = torch.nn.Identity()
        adapter.core.blocks[0].forward = lambda x, side: x
        costs = []
        for rows in (4, 8):
            tokens = given(rows, 4)
            beside = tokens.side.memory
            assert beside is not None
            tokens = tokens.replace(tokens.x.float(), memory=beside.replace(beside.x.float()))
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                adapter.features(tokens, [1])
            costs.append(counter.get_total_flops())
    assert costs[1] == 2 * costs[0]


@pytest.mark.parametrize(
    "options, said",
    [
        ({"stages": 3}, "multiple of 3 stages"),
        ({"core": Part(Prefix, count=1)}, "core must be a Transformer"),
        ({"stages": 2, "staged": True}, "needs 4 stages, not 2"),
    ],
)
def test_cores_that_do_not_divide_into_stages_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        adapter_part(**options)(192)


def test_a_branch_of_fewer_features_is_refused():
    branch = adapter_part().kwargs["branch"]
    short = branch.replace(stages=branch.kwargs["stages"][:3], between=branch.kwargs["between"][:2])
    with pytest.raises(ValueError, match="four features, not 3"):
        adapter_part(branch=short)(192)


def test_tokens_without_a_memory_or_a_lattice_and_unknown_depths_are_refused():
    adapter = adapter_part()(192)
    with pytest.raises(ValueError, match="need a memory"):
        adapter(Tokens(torch.randn(1, 8, 192), Side(grid=(4, 2))))
    with pytest.raises(ValueError, match="causal"):
        adapter(given(4, 2).replace(causal=True))
    with pytest.raises(ValueError, match="need a lattice of two axes"):
        adapter(given(4, 2).replace(grid=None))
    with pytest.raises(ValueError, match="within 0..4, not \\[5\\]"):
        adapter.features(given(4, 2), [5])


def test_a_companion_reads_the_same_batch_and_the_tokenizer_answers_for_both():
    pair = vit_comer("tiny").kwargs["tokenizers"]["image"](192)
    assert isinstance(pair, Accompanied)
    tokens = pair(Batch("image", torch.randint(0, 255, (2, 3, 64, 48), dtype=torch.uint8)))
    assert (tokens.side.grid, tokens.side.memory.side.grid) == ((4, 3), (32, 24))
    assert tokens.side.memory.x.shape == (2, 768, 64)
    sample = pair.read(torch.zeros(3, 300, 300, dtype=torch.uint8).permute(1, 2, 0).numpy())
    assert pair.collate([sample]).data.shape == (1, 3, 224, 224)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pair.no_such_name


def test_a_second_companion_is_refused():
    once = vit_comer("tiny").kwargs["tokenizers"]["image"]
    twice = Part(Accompanied, tokenizer=once, beside=once.kwargs["beside"], width=64)(192)
    with pytest.raises(ValueError, match="a memory already"):
        twice(Batch("image", torch.randn(1, 3, 32, 32)))


def test_every_part_of_it_round_trips():
    part = adapter_part(staged=True)
    assert Part.from_json(part.to_json()) == part
    assert part.cls is PyramidAdapter
