"""Node identifiers: orthonormal vectors that say which node is which, and so which edges meet.

Source: Kim et al. 2022, arXiv:2207.02505, sec. 2 (orthonormal random vectors, or eigenvectors of the normalised
Laplacian, the form of Dwivedi and Bresson 2020, arXiv:2012.09699).
Axes: n nodes, m edges, P width.
"""

import numpy as np

__all__ = ["IDENTIFIERS", "laplacian_identifiers", "random_identifiers"]

IDENTIFIERS = ("laplacian", "random")
_EQUAL = 1e-6


def laplacian_identifiers(count: int, pairs: np.ndarray, width: int) -> np.ndarray:
    """Row v holds node v's entries of the eigenvectors of I - D^(-1/2) A D^(-1/2) with the P smallest eigenvalues.

    A is 1 where an edge of either direction is, whatever its weight. With n <= P the rows are orthonormal and are
    filled up with zeros; with more nodes they tell apart what the slow waves over the graph tell apart, and nodes that
    a symmetry exchanges may have equal rows.

    An eigenvector has two signs. The one is taken under which the sum of the cubes of its entries is positive, which
    does not depend on the order of the nodes; where that sum is 0, and where eigenvalues are equal, identifiers are
    those of the order in which the nodes came.

    Shapes:
        pairs: (m, 2);  returns (n, P) float64.
    """
    adjacent = np.zeros((count, count))
    adjacent[pairs[:, 0], pairs[:, 1]] = adjacent[pairs[:, 1], pairs[:, 0]] = 1
    root = np.maximum(adjacent.sum(1), 1) ** -0.5
    _, vectors = np.linalg.eigh(np.eye(count) - root[:, None] * adjacent * root)
    vectors = vectors[:, :width]
    signs = np.sign((vectors**3).sum(0))
    largest = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    undecided = np.abs((vectors**3).sum(0)) < _EQUAL
    return np.pad(vectors * np.where(undecided, largest, signs), ((0, 0), (0, width - vectors.shape[1])))


def random_identifiers(count: int, width: int) -> np.ndarray:
    """Orthonormal rows, the same for every graph of n nodes; with n > P unit rows that are nearly orthogonal.

    Shapes:
        returns (n, P) float64.
    """
    normal = np.random.default_rng(0).standard_normal((max(count, width), width))
    if count <= width:
        return np.linalg.qr(normal)[0][:count]
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)
