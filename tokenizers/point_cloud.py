"""Point cloud: scans, meshes and arrays of points as tokens, one for each group of neighbouring points.

Source: groups of a cloud's farthest points, one small PointNet for all: Yu et al. 2021, arXiv:2111.14819, sec. 3.1;
the sizes of Pang et al. 2022, arXiv:2203.06604, sec. 4.1; a quarter of the points as centres: Zhang et al. 2023,
arXiv:2307.10802, sec. 3.2.
Axes: B clouds, N points of a cloud, C channels, G groups, K points of a group, D width, S tokens of all clouds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.cells import tokens_of_cells
from unimodal.collation import collated
from unimodal.errors import InputError
from unimodal.farthest_points import farthest_points
from unimodal.group_encoder import GroupEncoder
from unimodal.nearest_neighbours import nearest_neighbours
from unimodal.part import Part
from unimodal.reading.cloud import Cloud
from unimodal.reading.cloud_likeness import cloud_likeness
from unimodal.reading.cloud_record import CloudRecord
from unimodal.reading.opening import source_name
from unimodal.reading.points import read_points
from unimodal.reading.surface_points import surface_points
from unimodal.reading.voxel_thinning import voxel_thinning
from unimodal.sample import Batch, Sample
from unimodal.tokens import Tokens

__all__ = ["PointCloud"]

SURFACE = 4  # points sampled on a mesh for each point taken
CROWD = 16  # a cloud of more points for each point taken is thinned first


class PointCloud(nn.Module):
    """cloud -> N points -> unit sphere -> G centres, each with its K nearest points -> x_g = encoder(p - c_g).

    ``read`` brings the points into lexicographic order, without repetitions, so nothing depends on the order of the
    file. A mesh gives 4 N points spread evenly over its surface. A cloud of more than 16 N points is thinned to one
    point a cell, of the coarsest lattice that keeps 2 N or more
    (:func:`unimodal.reading.voxel_thinning.voxel_thinning`). Of what is left, N points are taken: the farthest-point
    sampling that starts at the point farthest from the centroid, or a random subset of fixed seed. Fewer are all taken,
    and fewer points than groups are a group each. The record says how many there were.

    Points are laid out in farthest-point order, at least the first G (all of them for an ``encoder`` of whole clouds),
    so the centres are the first G points of a cloud (any beginning of such an order is one); ``forward`` counts on it.
    They are in ``side.positions``, in radii of the unit sphere. A group of fewer than K points is the whole cloud; a
    maximum does not notice.

    Args:
        dim: Width D.
        points: N, at most.
        groups: G, at most; None for a quarter of the points.
        neighbours: K.
        widths: See :class:`unimodal.group_encoder.GroupEncoder`. Point-MAE's (128, 256, 512) cost several times what
            a core of width 128 and depth 4 does; the default costs about as much.
        encoder: What makes G tokens of a whole cloud, such as :class:`unimodal.point_hierarchy.PointHierarchy`, built
            with ``channels`` and ``neighbours``; None encodes each group by itself, with ``widths``.
        sampling: ``farthest`` or ``random``.
        coloured: Whether red, green and blue go into the encoder too, -1 to 1; clouds without colours are refused.

    Shapes:
        forward: (B, N, C) or B times (N, C), C = 3 or 6;  returns (B, G, D) with side.grid and side.positions
            (B, G, 3), or when sizes differ packed (1, S, D) with side.grids.

    Raises:
        ValueError: a count is not positive, or an unknown ``sampling``.
        InputError: :meth:`read` gets no cloud (see :func:`unimodal.reading.points.read_points`), one whose points are
            all the same, a mesh without area, or no colours where they are needed.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".ply", ".pcd", ".obj", ".stl", ".off", ".glb", ".xyz", ".xyzn", ".xyzrgb", ".pts", ".asc"),
        *(".npy", ".npz", ".csv", ".txt", ".las", ".laz", ".e57"),
    )
    variable: ClassVar[Mapping[str, Any]] = MappingProxyType({"groups": None})
    one_way: ClassVar[str] = "a token is the maximum over a group of points, and many groups have the same"

    def __init__(
        self,
        dim: int,
        *,
        points: int = 1024,
        groups: int | None = 64,
        neighbours: int = 32,
        widths: tuple[int, int, int] = (32, 64, 64),
        encoder: Part | None = None,
        sampling: str = "farthest",
        coloured: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("points", points), ("groups", groups), ("neighbours", neighbours)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, not {value}")
        if sampling not in ("farthest", "random"):
            raise ValueError(f"sampling must be 'farthest' or 'random', not {sampling!r}")
        self.dim, self.points, self.groups, self.neighbours = dim, points, groups, neighbours
        self.sampling, self.coloured = sampling, coloured
        channels, self.whole = 6 if coloured else 3, encoder is not None
        if encoder is None:
            self.encoder = GroupEncoder(dim, channels=channels, widths=widths)
        else:
            self.encoder = encoder(dim, channels=channels, neighbours=neighbours)

    @staticmethod
    def claims(path: Path) -> float:
        """By the first bytes; of lists of numbers those that have x, y and z."""
        return cloud_likeness(path)

    @staticmethod
    def examples() -> list[np.ndarray]:
        """Coloured spirals on ellipsoids, of four sizes."""
        clouds = []
        for count in (200, 333, 480, 96):
            height = np.linspace(-0.99, 0.99, count)
            ring, turn = np.sqrt(1 - height**2), 2.4 * np.arange(count)
            xyz = np.stack([ring * np.cos(turn), 0.5 * ring * np.sin(turn), (1 + count / 400) * height], -1)
            clouds.append(np.concatenate([xyz, 0.5 + 0.5 * xyz / np.abs(xyz).max(0)], -1))
        return clouds

    def read(self, source: Any) -> Sample:
        """One cloud or mesh (see :func:`unimodal.reading.points.read_points` for what can be read).

        Shapes:
            sample.data: (N, 3) float32, or (N, 6) with colours.

        Raises:
            InputError: see the class.
        """
        name, cloud = source_name(source), read_points(source)
        if self.coloured and cloud.rgb is None:
            raise InputError(name, "has no colours", "give red, green and blue, or set coloured=False")
        xyz, rgb = self._points(cloud, name)
        kept, repeated = _distinct(xyz, rgb)
        if len(kept) == 1:
            raise InputError(name, f"has {len(xyz)} points, all at one place", "at least two different ones are needed")
        chosen, how = self._taken(xyz[kept])
        taken = kept[chosen]
        centre = xyz[taken].mean(0)
        scale = float(np.linalg.norm(xyz[taken] - centre, axis=-1).max())
        if not scale > 1e-100:
            raise InputError(name, f"has points within {scale:.3g} of each other", "that is too close to scale")
        values = (xyz[taken] - centre) / scale
        if rgb is not None:
            values = np.concatenate([values, 2 * rgb[taken] - 1], -1)
        x, y, z = (float(c) for c in centre)
        record = CloudRecord(
            centre=(x, y, z),
            scale=scale,
            points=len(taken),
            of=len(kept),
            repeated=repeated,
            unmeasured=cloud.unmeasured,
            faces=0 if cloud.faces is None else len(cloud.faces),
            sampling=how,
            format=cloud.format,
            coloured=cloud.rgb is not None,
        )
        data = torch.from_numpy(values.astype(np.float32))
        return Sample("point_cloud", data, name, record, self._groups(len(taken)), source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, N, C) when all samples have as many points, else a tuple of (N, C).

        Raises:
            ValueError: there are no samples.
        """
        return collated("point_cloud", samples)

    def forward(self, batch: Batch) -> Tokens:
        tokens = tokens_of_cells(batch.data, self._cells, modality="point_cloud")
        if isinstance(batch.data, Tensor):
            return tokens.replace(positions=self._centres(batch.data))
        return tokens.replace(positions=torch.cat([self._centres(cloud[None]) for cloud in batch.data], 1))

    def restore(self, values: Tensor, record: CloudRecord) -> Tensor:
        """See :meth:`unimodal.reading.cloud_record.CloudRecord.restore`."""
        return record.restore(values)

    def _cells(self, clouds_BNC: Tensor) -> Tensor:
        if self.whole:
            return self.encoder(clouds_BNC, self._groups(clouds_BNC.shape[1])).mT
        centres_BG3 = self._centres(clouds_BNC)
        near_BGK = nearest_neighbours(clouds_BNC[..., :3], centres_BG3, self.neighbours)
        rows = torch.arange(len(clouds_BNC), device=clouds_BNC.device)[:, None, None]
        groups_BGKC = clouds_BNC[rows, near_BGK]
        offsets = groups_BGKC[..., :3] - centres_BG3[:, :, None]
        return self.encoder(torch.cat([offsets, groups_BGKC[..., 3:]], -1)).mT

    def _centres(self, clouds_BNC: Tensor) -> Tensor:
        return clouds_BNC[:, : self._groups(clouds_BNC.shape[1]), :3]

    def _groups(self, points: int) -> int:
        return max(1, points // 4) if self.groups is None else min(self.groups, points)

    def _points(self, cloud: Cloud, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        rgb = cloud.rgb if self.coloured else None
        if cloud.faces is None:
            return cloud.xyz, rgb
        try:
            xyz, face, weights = surface_points(cloud.xyz, cloud.faces, SURFACE * self.points)
        except ValueError as error:
            raise InputError(name, f"is a mesh of {len(cloud.faces)} triangles without area ({error})") from error
        return xyz, None if rgb is None else np.einsum("nc,nci->ni", weights, rgb[cloud.faces[face]])

    def _taken(self, xyz: np.ndarray) -> tuple[np.ndarray, str]:
        """Indices of the points taken, in farthest-point order, and how that went in words."""
        here, words = np.arange(len(xyz)), []
        if len(xyz) > CROWD * self.points:
            here = voxel_thinning(xyz, 2 * self.points)
            words = [f"{len(here)} of {len(xyz)} by voxels"]
        count = min(self.points, len(here))
        if self.sampling == "random":
            here = here[np.sort(np.random.default_rng(0).permutation(len(here))[:count])]
        first = count if self.sampling == "farthest" or self.whole else self._groups(count)
        # Shifted and scaled before they are rounded to float32, which would take the last digits of map coordinates.
        middle = xyz[here].mean(0)
        local = torch.from_numpy(((xyz[here] - middle) / np.abs(xyz[here] - middle).max()).astype(np.float32))
        order = farthest_points(local[None], first)[0].numpy()
        order = order[np.sort(np.unique(order, return_index=True)[1])]  # float32 may have made points equal
        if self.sampling == "random":
            order = np.concatenate([order, np.setdiff1d(np.arange(count), order)])
        return here[order], ", then ".join([*words, f"{count} by {self.sampling} points"])


def _distinct(xyz: np.ndarray, rgb: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Indices of different points in lexicographic order, and how many were left out."""
    columns = [*xyz.T, *(() if rgb is None else rgb.T)]
    order = np.argsort(columns[0])
    tied = np.diff(xyz[order, 0]) == 0
    if tied.any():  # only points of one x need the slower sort by all columns
        among = np.concatenate([[False], tied]) | np.concatenate([tied, [False]])
        rows = order[among]
        order[among] = rows[np.lexsort([column[rows] for column in reversed(columns)])]
    ordered = xyz[order]
    new = np.concatenate([[True], np.any(ordered[1:] != ordered[:-1], -1)])
    return order[new], int((~new).sum())
