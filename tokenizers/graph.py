"""Graph: graphs and molecules as one token a node and one an edge.

Source: Kim et al. 2022, arXiv:2207.02505, sec. 2 (TokenGT: features, the identifiers of both ends and a type through
one projection; identifiers are random orthonormal, or Laplacian eigenvectors whose signs are random in training).
Axes: B graphs, n nodes, m edges, N = n + m tokens, D width, M buckets, P identifier's width, F = M + 2 P + 2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.errors import InputError
from unimodal.node_identifiers import IDENTIFIERS, laplacian_identifiers, random_identifiers
from unimodal.reading.graph_data import GraphData
from unimodal.reading.graph_record import GraphRecord, attribute_code
from unimodal.reading.graph_source import SUFFIXES, read_graph
from unimodal.sample import Batch, Sample
from unimodal.tokens import Tokens

__all__ = ["Graph"]

_KEYS = (b'"nodes"', b'"edges"', b'"links"', b'"edge_index"', b'"adjacency"')


class Graph(nn.Module):
    """node v: W [X_v, P_v, P_v, E_node];  edge (u, v): W [X_uv, P_u, P_v, E_edge].

    X are the hashed attributes (:func:`unimodal.reading.graph_record.attribute_code`), so that any attribute of any
    graph has its place without a vocabulary, P the identifiers, E the type. Attention can find the edges of a node
    because identifiers are orthonormal: P_u is equal in the node's token and in those of its edges. The paper's [graph]
    and [null] tokens are the model's prefix.

    An undirected edge is one token, not one for each direction as in the paper's code. Its first end is the one whose
    identifier is larger in the first entry in which they differ, so the order in which a file names them means nothing.

    Of a graph of more than ``most`` tokens a neighbourhood is taken: nodes by distance from the node of highest
    degree, as many as fit with all edges between them. The record says which.

    Args:
        dim: Width D.
        identifiers: ``laplacian`` or ``random``.
        width: P. Graphs of more nodes have identifiers that are not orthonormal any more.
        buckets: M, of the attributes' codes; the way back needs a width of M + 2 P + 2.
        hashes: Of a code; M is a multiple of it.
        most: Most tokens of a graph.
        limit: Graphs of more nodes and edges are refused.

    Shapes:
        forward: cells (B, N, F) or B times (N, F);  returns (B, N, D) with side.grid (N,), or when sizes differ
            packed (1, S, D) with side.grids.

    Raises:
        ValueError: a setting is not as above.
        InputError: :meth:`read` gets no graph (see :func:`unimodal.reading.graph_source.read_graph`), one above
            ``limit``, or one with an attribute that is neither finite number nor word.
        MissingExtraError: the source is a molecule and RDKit is not installed.
    """

    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    variable: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        dim: int,
        *,
        identifiers: str = "laplacian",
        width: int = 32,
        buckets: int = 48,
        hashes: int = 12,
        most: int = 512,
        limit: int = 500_000,
    ) -> None:
        super().__init__()
        if identifiers not in IDENTIFIERS:
            raise ValueError(f"identifiers must be one of {', '.join(IDENTIFIERS)}, not {identifiers!r}")
        if not 1 <= hashes <= 32 or buckets < hashes or buckets % hashes:
            raise ValueError(f"buckets must be a multiple of hashes, and hashes in 1..32, not {buckets} and {hashes}")
        if width < 1 or most < 1 or limit < 1:
            raise ValueError(f"width, most and limit must be positive, not {width}, {most} and {limit}")
        self.identifiers, self.width, self.buckets, self.hashes = identifiers, width, buckets, hashes
        self.most, self.limit = most, limit
        self.project = nn.Linear(buckets + 2 * width + 2, dim, bias=False)  # the types are its bias

    @staticmethod
    def claims(path: Path) -> float:
        """Sure of graph formats; of JSON if a graph's keys stand in its beginning."""
        suffix = path.suffix.lower()
        if suffix in SUFFIXES and suffix != ".json":
            return 0.9
        try:
            with path.open("rb") as file:
                head = file.read(4096)
        except OSError:
            return 0.3
        if b"<graphml" in head:
            return 0.9
        return (
            0.8
            if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and any(key in head for key in _KEYS)
            else 0.2
            if suffix
            else 0.05
        )

    @staticmethod
    def examples() -> list[Any]:
        """A path with attributes, a directed triangle and a single node."""
        nodes = [{"id": i, "mass": 1.5 * i, "colour": "red" if i % 2 else "blue"} for i in range(5)]
        links = [{"source": i, "target": i + 1, "weight": 0.5 + i} for i in range(4)]
        return [
            {"nodes": nodes, "links": links},
            {"edge_index": [[0, 1, 2], [1, 2, 0]], "x": [[0.1, 2.0], [0.3, -1.0], [0.0, 4.0]]},
            {"nodes": ["alone"], "edges": []},
        ]

    def read(self, source: Any) -> Sample:
        """Read one graph (see :func:`unimodal.reading.graph_source.read_graph` for what can be read).

        Shapes:
            sample.data: (n + m, F) float32, nodes first.
        """
        graph = read_graph(source)
        size = len(graph.names), len(graph.pairs)
        if sum(size) > self.limit:
            cause = f"has {size[0]} nodes and {size[1]} edges"
            raise InputError(graph.source, cause, f"give a part with at most {self.limit} of both, or raise limit")
        nodes, edges = (range(size[0]), range(size[1])) if sum(size) <= self.most else _around(graph, self.most)
        place = {node: i for i, node in enumerate(nodes)}
        pairs = np.array([[place[a], place[b]] for a, b in graph.pairs[list(edges)].tolist()], np.int64).reshape(-1, 2)
        if self.identifiers == "laplacian":
            own = laplacian_identifiers(len(nodes), pairs, self.width)
        else:
            own = random_identifiers(len(nodes), self.width)
        pairs = pairs if graph.directed else _oriented(pairs, own)
        data = np.zeros((len(nodes) + len(edges), self.project.in_features), np.float32)
        ends = np.concatenate([np.arange(len(nodes))[:, None].repeat(2, 1), pairs])
        data[:, self.buckets : -2] = own[ends].reshape(len(ends), -1)
        data[: len(nodes), -2] = data[len(nodes) :, -1] = 1
        code = {"buckets": self.buckets, "hashes": self.hashes, "source": graph.source}
        for row, node in zip(data, nodes, strict=False):
            row[: self.buckets] = attribute_code(graph.nodes[node], owner=f"node {graph.names[node]!r}", **code)
        for row, edge in zip(data[len(nodes) :], edges, strict=True):
            ends_of = tuple(graph.names[i] for i in graph.pairs[edge])
            row[: self.buckets] = attribute_code(graph.edges[edge], owner=f"edge {ends_of}", **code)
        names = tuple(graph.names[i] for i in nodes)
        listed = tuple((int(a), int(b)) for a, b in pairs)
        record = GraphRecord(graph.source, names, listed, graph.directed, size, self.buckets, self.width, graph.part)
        return Sample("graph", torch.from_numpy(data), graph.source, record, len(data), source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, N, F) when all graphs have one number of tokens, else a tuple of (N, F).

        Raises:
            ValueError: there are no samples.
        """
        return collated("graph", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._embed, modality="graph")

    def detokenize(self, tokens: Tokens) -> Batch:
        """The cells whose tokens these are; ``record.restore(cells)`` reads the edges from their identifiers.

        Raises:
            ValueError: the width is below M + 2 P + 2, so there is no way back; or the tokens have no lattice.
        """
        tokens = tokens.lattice()
        tokens.side.lattices(tokens.sequences)
        found = tuple(projected_from(x_ND, self.project.weight, None).float() for x_ND in tokens.split())
        return Batch("graph", in_one(found))

    def _embed(self, cells: Tensor) -> Tensor:
        cells = self._turned(cells) if self.training else cells
        return self.project(cells.to(self.project.weight.dtype)).mT

    def _turned(self, cells: Tensor) -> Tensor:
        """Identifiers as good as these: other signs of the eigenvectors, or another random rotation, a graph."""
        content, first, second, types = cells.split([self.buckets, self.width, self.width, 2], -1)
        if self.identifiers == "laplacian":
            signs = torch.randint(0, 2, (len(cells), 1, self.width), device=cells.device) * 2 - 1
            return torch.cat([content, first * signs, second * signs, types], -1)
        turn = torch.linalg.qr(torch.randn(len(cells), self.width, self.width, device=cells.device))[0]
        return torch.cat([content, first @ turn, second @ turn, types], -1)


def _oriented(pairs: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Each pair with the end first whose identifier is larger in the first entry in which they differ."""
    apart = own[pairs[:, 0]] - own[pairs[:, 1]]
    first = (np.abs(apart) > 1e-6).argmax(1)
    swap = apart[np.arange(len(pairs)), first] < -1e-6
    return np.where(swap[:, None], pairs[:, ::-1], pairs)


def _around(graph: GraphData, most: int) -> tuple[list[int], list[int]]:
    """Nodes by distance from that of highest degree, while they and all edges between them are at most ``most``."""
    met: list[list[int]] = [[] for _ in graph.names]
    ends = graph.pairs.tolist()
    for edge, (a, b) in enumerate(ends):
        met[a].append(edge)
        if a != b:
            met[b].append(edge)
    taken: dict[int, None] = {}
    edges: list[int] = []
    for start in sorted(range(len(met)), key=lambda node: -len(met[node])):
        queue = [start] if start not in taken else []
        seen = set(queue)
        for node in queue:
            new = [e for e in met[node] if all(end in taken or end == node for end in ends[e])]
            if len(taken) + 1 + len(edges) + len(new) > most:
                return list(taken) or [start], sorted(edges)
            taken[node] = None
            edges += new
            for edge in met[node]:
                for end in ends[edge]:
                    if end not in seen and end not in taken:
                        seen.add(end)
                        queue.append(end)
    return list(taken), sorted(edges)
