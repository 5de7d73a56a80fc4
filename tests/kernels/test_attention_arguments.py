"""Attention arguments: what does not fit together is refused, and what fits is not."""

from typing import Any

import pytest
import torch

from unimodal.kernels.attention_arguments import check_arguments

PACK = torch.tensor([0, 4])


def arguments(heads=2, key_heads=1, value_heads=1, rows=1, queries=4, keys=7, **terms: torch.Tensor) -> dict[str, Any]:
    sizes = {"q": (heads, queries), "k": (key_heads, keys), "v": (value_heads, keys)}
    heads_of = {name: torch.randn(rows, *size, 8) for name, size in sizes.items()}
    return heads_of | dict.fromkeys(("mask", "bias", "lengths", "cu_seqlens")) | terms


@pytest.mark.parametrize("shape", [(7,), (4, 1), (1, 2, 1, 7), (1, 2, 4, 7)])
def test_what_broadcasts_is_allowed(shape):
    check_arguments(**arguments(mask=torch.ones(shape).bool(), bias=torch.ones(shape), lengths=torch.tensor([3])))
    check_arguments(**arguments(keys=4, cu_seqlens=PACK))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"heads": 3, "key_heads": 2, "value_heads": 2}, "3 query heads are not a multiple of 2 key"),
        ({"key_heads": 2}, "2 query heads are not a multiple of 2 key and 1 value heads"),
        ({"mask": torch.ones(4, 7)}, "mask must be boolean .* not torch.float32"),
        ({"mask": torch.ones(4, 6).bool()}, r"mask \(4, 6\) does not broadcast to \(B, H, N, M\) = \(1, 2, 4, 7\)"),
        ({"bias": torch.ones(1, 1, 1, 4, 7)}, r"bias \(1, 1, 1, 4, 7\) does not broadcast"),
        ({"cu_seqlens": PACK}, "a packed batch has one row and as many keys as queries"),
        ({"cu_seqlens": PACK, "keys": 4, "rows": 2}, "a packed batch has one row and as many keys as queries"),
        ({"cu_seqlens": PACK, "keys": 4, "bias": torch.ones(4)}, "takes no mask, no bias and no lengths"),
        ({"cu_seqlens": PACK, "keys": 4, "mask": torch.ones(4).bool()}, "takes no mask, no bias and no lengths"),
        ({"cu_seqlens": PACK, "keys": 4, "lengths": torch.tensor([4])}, "takes no mask, no bias and no lengths"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        check_arguments(**arguments(**given))
