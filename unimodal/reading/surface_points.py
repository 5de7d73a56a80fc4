"""Surface points: a triangle mesh as points spread evenly over its area.

Source: Osada et al. 2002, ACM Trans. Graphics 21(4), sec. 4.1 (a triangle by its area, then eq. 1 in it); one draw a
stratum: Cochran 1977, Sampling Techniques, ch. 8 (systematic sampling).
Axes: V vertices, F triangles, N points.
"""

import numpy as np

__all__ = ["surface_points"]


def surface_points(
    vertices: np.ndarray, faces: np.ndarray, count: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p = (1 - sqrt(u)) a + sqrt(u) (1 - v) b + sqrt(u) v c in triangle (a, b, c), u and v uniform in [0, 1).

    The area is cut into ``count`` equal strips along the order of the triangles and each gives one point, so that a
    triangle of area A gets count A / sum(A) points, rounded up or down. One seed gives the same points.

    Args:
        vertices: Of the mesh.
        faces: Indices of vertices.
        count: N.
        seed: Of the generator.

    Shapes:
        vertices: (V, 3);  faces: (F, 3);  returns points (N, 3), the triangle of each (N,), and its weights of the
            three corners (N, 3).

    Raises:
        ValueError: no triangle has an area.
    """
    corners = vertices[faces]
    sides = corners[:, 1:] - corners[:, :1]
    size = float(np.abs(sides).max(initial=0.0)) or 1.0  # areas of tiny meshes must not vanish
    areas = np.linalg.norm(np.cross(sides[:, 0] / size, sides[:, 1] / size), axis=-1)
    total = float(areas.sum())
    if not total > 0:
        raise ValueError("no triangle has an area")
    generator = np.random.default_rng(seed)
    strip = (np.arange(count) + generator.random()) * (total / count)
    triangle = np.searchsorted(np.cumsum(areas), strip, side="right")
    triangle = np.minimum(triangle, np.flatnonzero(areas)[-1])  # rounding of the sum
    u, v = np.sqrt(generator.random(count)), generator.random(count)
    weights = np.stack([1 - u, u * (1 - v), u * v], -1)
    return np.einsum("nc,nci->ni", weights, corners[triangle]), triangle, weights
