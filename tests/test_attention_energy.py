"""The authors' counts for PVTv2-B0 at 224 px, and the energy that follows from them."""

import pytest

from unimodal.attention_energy import Operations, kernel_hash_operations, softmax_operations

# Stages of PVTv2-B0 at 224 px: tokens, width, heads; two blocks each.
STAGES = [(56 * 56, 32, 1), (28 * 28, 64, 2), (14 * 14, 160, 5), (7 * 7, 256, 8)]


def total(parts: list[Operations]) -> Operations:
    return sum((part + part for part in parts), Operations(0, 0))


def test_the_attention_of_pvtv2_b0_has_the_published_counts():
    softmax = total([softmax_operations(*stage) for stage in STAGES])
    hashed = total([*(kernel_hash_operations(*stage) for stage in STAGES[:3]), softmax_operations(*STAGES[3])])
    assert softmax.multiplications / 1e9 == pytest.approx(1.466, abs=5e-4)
    assert softmax.additions / 1e9 == pytest.approx(1.443, abs=5e-4)
    assert hashed.multiplications / 1e9 == pytest.approx(0.0082, abs=5e-5)
    assert hashed.additions / 1e9 == pytest.approx(0.0376, abs=5e-5)
    assert softmax.energy_pj / 1e9 == pytest.approx(3.7 * 1.466 + 0.9 * 1.443, abs=3e-3)


def test_counts_are_those_of_the_sums_written_out():
    tokens, width, heads, bits, anchors = 3, 4, 2, 5, 7
    multiply = add = 0
    for _ in range(heads * tokens):
        for _ in range(anchors):
            add, multiply = (
                add + 2 * width,
                multiply + 2,
            )  # a difference and a sum a channel; a scale and an exponential
        for _ in range(bits):
            add, multiply = add + anchors, multiply + anchors
            add += width  # the code's value into the memory
            add += 2  # the keys' sum and the query's sum of it
            multiply += 1
        add, multiply = add + bits * width + width, multiply + 1 + width
    assert kernel_hash_operations(tokens, heads * width, heads, bits=bits, anchors=anchors) == (multiply, add)
    pairs = tokens * tokens
    assert softmax_operations(tokens, heads * width, heads) == (
        heads * pairs * (2 * width + 1),
        heads * pairs * 2 * width,
    )


def test_energy_is_linear_in_the_tokens_with_codes_and_quadratic_without():
    short, long = (kernel_hash_operations(n, 64, 2).energy_pj for n in (100, 400))
    assert long == pytest.approx(4 * short)
    assert softmax_operations(400, 64, 2).energy_pj == pytest.approx(16 * softmax_operations(100, 64, 2).energy_pj)
