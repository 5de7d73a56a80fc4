"""Attention energy: how many multiplications and additions an attention needs, and what they cost on a chip.

Source: Liu et al. 2022, arXiv:2209.09004, table 1 (EcoFormer; 3.7 pJ and 0.9 pJ in 45 nm: Horowitz 2014); counts:
github.com/ziplab/EcoFormer, pvt/get_energy.py.
"""

from typing import NamedTuple

__all__ = ["Operations", "kernel_hash_operations", "softmax_operations"]

MULTIPLY_PJ, ADD_PJ = 3.7, 0.9


class Operations(NamedTuple):
    """Float32 multiplications and additions of one input.

    A model of arithmetic alone: memory traffic, exponentials and whatever a processor spends besides are not in it,
    and nothing of it was measured.
    """

    multiplications: int
    additions: int

    @property
    def energy_pj(self) -> float:
        """Picojoules on a 45 nm chip."""
        return MULTIPLY_PJ * self.multiplications + ADD_PJ * self.additions

    def __add__(self, other: object) -> "Operations":
        if not isinstance(other, Operations):
            return NotImplemented
        return Operations(self.multiplications + other.multiplications, self.additions + other.additions)


def softmax_operations(tokens: int, dim: int, heads: int) -> Operations:
    """q k^T, its scale, and weights times v, as the authors count; projections and the softmax itself are left out."""
    pairs = tokens * tokens
    return Operations(2 * pairs * dim + heads * pairs, 2 * pairs * dim)


def kernel_hash_operations(tokens: int, dim: int, heads: int, *, bits: int = 16, anchors: int = 25) -> Operations:
    """:class:`~unimodal.attention.kernel_hash.KernelHashAttention`, as the authors count: products with codes are sums.

    Their count has no multiplications for the squares in the distances, and multiplies where the divisor's sums are
    taken, which the codes would spare.
    """
    width, rows = dim // heads, heads * tokens
    kernel = Operations(2 * rows * anchors, 2 * rows * anchors * width)
    hashing = Operations(rows * anchors * bits, rows * anchors * bits)
    divisor = Operations(rows * bits + rows, 2 * rows * bits)
    values = Operations(rows * width, 2 * rows * bits * width + rows * width)
    return kernel + hashing + divisor + values
