"""What every part of a family must keep to, as checks that run on any class.

Constraints are tested by influence: what must not matter is changed, and the outputs must be exactly equal. A part
that does not support a constraint raises a ValueError with the constraint's name instead.
"""

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.side import Side
from unimodal.specimen import DIM, GRIDS, PREFIX, Specimen, changed, padded, uniform
from unimodal.tokens import Tokens

__all__ = ["check_part", "part_checks"]

# Two orders of summing at most 14 keys and a few hundred channels differ by less than this many units in the last
# place of the largest value.
ULPS = 100


def check_part(family: str, cls: Callable[..., nn.Module], **kwargs: Any) -> None:
    """Run every check of ``family`` on ``cls``; required keywords that are not given come from a table of sizes.

    Args:
        family: attention, mixers, norms, ffns, positions, readouts or stems.
        cls: The part's class.
        kwargs: Its keyword arguments; see :data:`unimodal.specimen.REQUIRED` for those that may be left out.

    Raises:
        AssertionError: some checks failed; the message lists each one with its cause.
        ValueError: no checks are known for the family, or a required keyword is missing.
    """
    failures = []
    for name, check in part_checks(family, cls, **kwargs).items():
        try:
            check()
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    if failures:
        raise AssertionError(f"{cls.__qualname__} breaks {len(failures)} contracts\n  " + "\n  ".join(failures))


def part_checks(family: str, cls: Callable[..., nn.Module], **kwargs: Any) -> dict[str, Callable[[], None]]:
    """The checks of ``family`` bound to ``cls``, by name; each one raises what is wrong."""
    if family not in _CHECKS:
        raise ValueError(f"no checks for the family {family!r}; there are: {', '.join(_CHECKS)}")
    specimen = Specimen(family, cls, **kwargs)
    return {check.__name__: partial(check, specimen) for check in _CHECKS[family]}


def shape_and_dtype(part: Specimen) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        inputs, module = part.inputs(dtype), part.build(dtype)
        out, x = part.run(module, inputs), _x(inputs)
        expected = tuple(x.shape)
        if part.family == "stems":
            expected = (x.shape[0], DIM, *_cells(module, tuple(x.shape[2:])))
        elif part.family == "readouts":
            expected = (x.shape[0], getattr(module, "width", DIM))
        assert out.shape == expected, f"shape {tuple(out.shape)} instead of {expected}"
        assert out.dtype == dtype, f"{dtype} went in and {out.dtype} came out"
        assert out.isfinite().all(), f"the output in {dtype} is not finite"


def determinism_in_eval(part: Specimen) -> None:
    module, inputs = part.build(), part.inputs()
    _same(part.run(module, inputs), part.run(module, inputs), "the second output for one input")


def finite_gradients(part: Specimen) -> None:
    """Also where some parameters are for images and others for volumes: they get theirs from their own kind."""
    module, xs = part.build().train(), []
    for axes in part.axes:
        inputs = part.inputs(axes=axes)
        xs.append(_x(inputs).requires_grad_())
        part.run(module, _with(inputs, xs[-1])).square().sum().backward()
    for name, tensor in (*(("x", x) for x in xs), *module.named_parameters()):
        assert tensor.grad is not None, f"{name} gets no gradient"
        assert tensor.grad.isfinite().all(), f"the gradient of {name} is not finite"


def batch_independence(part: Specimen) -> None:
    module, inputs = part.build(), part.inputs()
    before, after = (part.run(module, i) for i in (inputs, _with(inputs, changed(_x(inputs), 1))))
    _same(before[0], after[0], "row 0 after a change of row 1")
    assert not torch.equal(before[1], after[1]), "the output does not depend on the input"


def json_round_trip(part: Specimen) -> None:
    back = Part.from_json(json.loads(json.dumps(part.part.to_json())))
    assert back == part.part, f"{part.part} came back as {back}"


def state_dict_round_trip(part: Specimen) -> None:
    first, second, inputs = part.build(seed=1), part.build(seed=2), part.inputs()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.1)
    second.load_state_dict(first.state_dict(), strict=True)
    _same(part.run(first, inputs), part.run(second, inputs), "the output after loading a state dict")


def deep_copy(part: Specimen) -> None:
    module, inputs = part.build(), part.inputs()
    twin = copy.deepcopy(module)
    _same(part.run(module, inputs), part.run(twin, inputs), "the output of a copy")
    assert not set(map(id, module.parameters())) & set(map(id, twin.parameters())), "a copy shares parameters"


def exports(part: Specimen) -> None:
    module, inputs = part.build(), part.inputs()
    program = torch.export.export(_OneInput(part, module), (inputs,)).module()
    _close(program(inputs), part.run(module, inputs), "the output of the exported program")


def mask(part: Specimen) -> None:
    """Hidden keys have no influence; a mask of pairs acts as causal order where it says the same."""
    module, tokens = part.build(), uniform()
    n = tokens.x.shape[1]
    hidden = [3, n - 1]
    keys = torch.ones(n, dtype=torch.bool).index_fill(0, torch.tensor(hidden), False)
    inputs = tokens.replace(mask=keys[None, None, None])
    if part.refuses("mask", module, inputs):
        return
    before = part.run(module, inputs)
    after = part.run(module, inputs.replace(changed(tokens.x, slice(None), hidden)))
    kept = slice(None) if part.family == "readouts" else keys.expand(3, -1)
    _same(before[kept], after[kept], "an output after a change of masked keys")
    if part.family in _GATHER:
        assert not torch.equal(before, part.run(module, tokens)), "the mask is ignored"
        pairs, ordered = tokens.replace(mask=torch.ones(n, n).tril().bool()[None, None]), tokens.replace(causal=True)
        if not part.refuses("causal", module, ordered):
            _close(part.run(module, pairs), part.run(module, ordered), "the output with a triangular mask")
    if part.family == "attention":
        none = tokens.replace(mask=torch.zeros(1, 1, n, n, dtype=torch.bool))
        assert not part.run(module, none).any(), "a query that may see no key does not give 0"


def bias(part: Specimen) -> None:
    """Zero changes nothing, and a slope changes something."""
    module, tokens = part.build(), uniform()
    n = tokens.x.shape[1]
    level, slope = (tokens.replace(bias=term.expand(1, 1, n, n)) for term in (torch.zeros(n), torch.arange(n) / n))
    if part.refuses("bias", module, level):
        return
    plain = part.run(module, tokens)
    _close(part.run(module, level), plain, "the output with a bias of zero")
    assert not torch.equal(part.run(module, slope), plain), "the bias is ignored"


def causal(part: Specimen) -> None:
    """A change of one token leaves everything before it as it was."""
    module, tokens = part.build(), uniform(causal=True)
    if part.refuses("causal", module, tokens):
        return
    before = part.run(module, tokens)
    for place in (1, 3, tokens.x.shape[1] - 1):
        after = part.run(module, tokens.replace(changed(tokens.x, slice(None), place)))
        _same(before[:, :place], after[:, :place], f"a token before {place} after a change of token {place}")
        assert not torch.equal(before[:, place], after[:, place]), f"token {place} does not depend on itself"


def memory(part: Specimen) -> None:
    """An attention rule gets its keys from the mixer; a mixer reads the memory's real tokens only."""
    module, tokens = part.build(), uniform()
    held = Tokens(padded().x[:, :5], Side(lengths=torch.tensor([3, 4, 1])))
    refused = part.refuses("memory", module, tokens.replace(memory=held))
    assert refused or part.family != "attention", "an attention rule must refuse a memory: the mixer projects it"
    if refused:
        return
    before = part.run(module, tokens.replace(memory=held))
    padding = held.replace(changed(held.x, slice(None), 4))
    _same(before, part.run(module, tokens.replace(memory=padding)), "the output after a change of memory padding")
    real = held.replace(changed(held.x, slice(None), 0))
    assert not torch.equal(before, part.run(module, tokens.replace(memory=real))), "the memory is ignored"


def layouts(part: Specimen) -> None:
    """Padded, packed and single sequences give the same, and what is not theirs has no influence on them."""
    module = part.build()
    for order in (False, True):
        if order and part.refuses("causal", module, uniform(causal=True)):
            continue
        rows = padded(causal=order)
        alone = [
            part.sequences(module, Tokens(x[None], Side(grid=grid, prefix=PREFIX, causal=order)))[0]
            for x, grid in zip(rows.split(), GRIDS, strict=True)
        ]
        for name, tokens, foreign in (  # foreign: what must not matter to sequence 0
            ("lengths", rows, (0, slice(8, None))),
            ("cu_seqlens", rows.packed(), (0, slice(8, None))),
        ):
            if part.refuses(name, module, tokens):
                continue
            several = part.sequences(module, tokens)
            after = part.sequences(module, tokens.replace(changed(tokens.x, *foreign)))
            _same(several[0], after[0], f"a sequence after a change of what is not its own ({name})")
            for one, other in zip(alone, several, strict=True):
                _close(other, one, f"a sequence in a batch with {name}, not alone (causal={order})")


_GATHER = ("attention", "mixers")
_ALL = (
    shape_and_dtype,
    determinism_in_eval,
    finite_gradients,
    batch_independence,
    json_round_trip,
    state_dict_round_trip,
    deep_copy,
    exports,
)
_CHECKS: dict[str, tuple[Callable[[Specimen], None], ...]] = {
    **dict.fromkeys(_GATHER, (*_ALL, mask, causal, layouts, bias, memory)),
    **dict.fromkeys(("norms", "ffns", "positions"), (*_ALL, mask, causal, layouts)),
    "readouts": (*_ALL, mask, layouts),
    "stems": _ALL,
}


class _OneInput(nn.Module):
    """A part of any family as a module of one input, which is what torch.export takes."""

    def __init__(self, part: Specimen, module: nn.Module) -> None:
        super().__init__()
        self.part, self.module = part, module

    def forward(self, inputs: Any) -> Tensor:
        return self.part.run(self.module, inputs)


def _cells(stem: Any, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """A stem's lattice: what its ``cells(sizes)`` says, or the sizes over its stride (one number, or one an axis)."""
    if hasattr(stem, "cells"):
        return tuple(stem.cells(sizes))
    strides = (stem.stride,) * len(sizes) if isinstance(stem.stride, int) else stem.stride
    return tuple(n // stride for n, stride in zip(sizes, strides, strict=True))


def _x(inputs: Any) -> Tensor:
    return inputs.x if isinstance(inputs, Tokens) else inputs


def _with(inputs: Any, x: Tensor) -> Any:
    return inputs.replace(x) if isinstance(inputs, Tokens) else x


def _same(one: Tensor, other: Tensor, what: str) -> None:
    assert torch.equal(one, other), f"{what} differs by {(one - other).abs().max():.3g}; it must be exactly equal"


def _close(one: Tensor, other: Tensor, what: str) -> None:
    allowed = ULPS * torch.finfo(other.dtype).eps * max(1.0, float(other.detach().abs().max()))
    gap = float((one - other).detach().abs().max())
    assert gap <= allowed, f"{what} differs by {gap:.3g}, more than rounding explains ({allowed:.3g})"
