"""The hashed code of words: its equation, and how seldom two words share one."""

import hashlib

import numpy as np
import pytest

from unimodal.hashed_code import hashed_code


def test_it_is_the_sum_of_signed_units_one_in_each_block():
    content = b"".join(len(word).to_bytes(8, "little") + word for word in (b"sex", b"female"))
    expected = np.zeros(12)
    for k in range(3):
        digest = hashlib.blake2b(content, digest_size=8, salt=k.to_bytes(8, "little")).digest()
        number = int.from_bytes(digest, "little")
        expected[4 * k + (number // 2) % 4] += (-1) ** (number % 2) / np.sqrt(3)
    np.testing.assert_allclose(hashed_code(("sex", "female"), buckets=12, hashes=3), expected, rtol=1e-6)


def test_inner_products_are_those_of_equality_on_average():
    codes = np.stack([hashed_code((f"word {i}",), buckets=56, hashes=14) for i in range(600)])
    gram = codes @ codes.T
    others = gram[~np.eye(len(gram), dtype=bool)]
    np.testing.assert_allclose(np.diag(gram), 1, rtol=1e-6)
    assert abs(others.mean()) < 0.01  # 360,000 pairs (not independent) around 0
    assert abs(others.std() - 56**-0.5) < 0.01
    assert others.max() < 1 - 1e-6


def test_no_two_of_fifty_thousand_words_share_a_code():
    codes = {hashed_code((str(i),), buckets=56, hashes=14).tobytes() for i in range(50_000)}
    assert len(codes) == 50_000


def test_the_boundary_between_words_counts_and_odd_characters_do_no_harm():
    one, other = (hashed_code(words, buckets=56, hashes=14) for words in (("a", "bc"), ("ab", "c")))
    assert not np.array_equal(one, other)
    assert np.linalg.norm(hashed_code(("\ud800 lone surrogate", "\0", ""), buckets=56, hashes=14)) == pytest.approx(1)


@pytest.mark.parametrize("buckets, hashes", [(10, 4), (0, 1), (8, 0), (66, 33)])
def test_sizes_that_make_no_blocks_are_refused(buckets, hashes):
    with pytest.raises(ValueError, match="(buckets|hashes) must be"):
        hashed_code(("a",), buckets=buckets, hashes=hashes)
