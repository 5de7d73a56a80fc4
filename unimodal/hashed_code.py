"""Hashed code: any words as a short vector of signs, the same on every machine and without a vocabulary.

Source: Weinberger et al. 2009, arXiv:0902.2206, def. 1 (signed feature hashing); several hashes, one in each block of
buckets: Kane and Nelson 2010, arXiv:1012.1577, sec. 1 (the block construction).
Axes: M buckets, K hashes.
"""

from functools import lru_cache
from hashlib import blake2b

import numpy as np

__all__ = ["hashed_code"]


@lru_cache(maxsize=65536)
def hashed_code(words: tuple[str, ...], *, buckets: int, hashes: int) -> np.ndarray:
    """phi_i(words) = sum over k with h_k(words) = i of xi_k(words) / sqrt(K).

    Hash k falls into the k-th of K blocks of M / K buckets, so that every code has K entries other than zero and the
    length 1, and none cancels another. There are (2 M / K)^K codes; those of different words have inner products
    around 0 with a standard deviation of 1 / sqrt(M). A linear map of the code is what a lookup of K signed rows is.

    Args:
        words: What is coded, in order; ("a", "bc") and ("ab", "c") differ.
        buckets: M, a multiple of ``hashes``.
        hashes: K, at most 32.

    Shapes:
        returns (M,) float32 that must not be written to: equal words share it.

    Raises:
        ValueError: M is no positive multiple of K, or K is not in 1..32.
    """
    if not 1 <= hashes <= 32:
        raise ValueError(f"hashes must be in 1..32, not {hashes}")
    if buckets < hashes or buckets % hashes:
        raise ValueError(f"buckets must be a positive multiple of hashes ({hashes}), not {buckets}")
    width, code = buckets // hashes, np.zeros(buckets, np.float32)
    content = b"".join(len(raw).to_bytes(8, "little") + raw for raw in (w.encode("utf-8", "replace") for w in words))
    for k in range(hashes):
        number = int.from_bytes(blake2b(content, digest_size=8, salt=k.to_bytes(8, "little")).digest(), "little")
        sign, place = 1 - 2 * (number & 1), (number >> 1) % width
        code[k * width + place] = sign * hashes**-0.5
    code.setflags(write=False)
    return code
