"""The tokenizer ``graph``: TokenGT's equation, order that means nothing, the way back, and graphs as they come."""

import zipfile

import networkx
import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.hashed_code import hashed_code
from unimodal.testing import check_tokenizer
from unimodal.tokenizer_checks import CHECKS
from unimodal.tokenizers.graph import Graph

# The smallest kind of graph without a symmetry: its Laplacian has six different eigenvalues, and the cubes of no
# eigenvector's entries add up to 0.
NODES = [{"id": i, "mass": 1.5 * i, "kind": "a" if i % 2 else "b"} for i in range(6)]
LINKS = [
    {"source": a, "target": b, "weight": 0.5 + a}
    for a, b in ((0, 1), (0, 2), (0, 3), (4, 0), (2, 1), (1, 3), (5, 1), (2, 4))
]
MIXED = {"nodes": NODES, "links": LINKS}


def cells_of(graph: Graph, source) -> torch.Tensor:
    return graph.read(source).data


def tokens_of(graph: Graph, source) -> torch.Tensor:
    tokens = graph(graph.collate([graph.read(source)]))
    assert tokens.side.grid == (tokens.x.shape[1],)
    return tokens.x[0].detach()


def edges_of(graph: Graph, source) -> list:
    sample = graph.read(source)
    batch = graph.detokenize(graph(graph.collate([sample])))
    return sample.record.restore(batch.data[0])


def test_every_contract_of_tokenizers_holds():
    assert len(check_tokenizer("graph", Graph)) == len(CHECKS)


def test_tokens_are_the_papers_projection_of_features_identifiers_and_type():
    m, p = 8, 7
    graph = Graph(10, width=p, buckets=m, hashes=2).double().eval()
    x = tokens_of(graph, {**MIXED, "directed": True})
    n, ends = 6, [(link["source"], link["target"]) for link in LINKS]
    adjacent = np.zeros((n, n))
    for a, b in ends:
        adjacent[a, b] = adjacent[b, a] = 1
    degree = adjacent.sum(1)
    laplacian = [[(i == j) - adjacent[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(n)] for i in range(n)]
    _, vectors = np.linalg.eigh(np.array(laplacian))
    own = np.zeros((n, p))
    own[:, :n] = vectors * np.sign((vectors**3).sum(0))

    def code(*words):
        return np.array(hashed_code(words, buckets=m, hashes=2), float)

    weight = graph.project.weight.detach().numpy()
    for i, node in enumerate(NODES):
        features = np.arcsinh(node["mass"]) * code("mass") + code("kind", node["kind"])
        vector = np.concatenate([features, own[i], own[i], [1, 0]])
        np.testing.assert_allclose(x[i], weight @ vector, atol=1e-6)  # cells are float32
    for j, (link, (a, b)) in enumerate(zip(LINKS, ends, strict=True)):
        vector = np.concatenate([np.arcsinh(link["weight"]) * code("weight"), own[a], own[b], [0, 1]])
        np.testing.assert_allclose(x[n + j], weight @ vector, atol=1e-6)


def test_relabelling_the_nodes_permutes_their_tokens_and_leaves_those_of_the_edges():
    graph, order = Graph(32).eval(), [3, 0, 5, 4, 1, 2]
    x = tokens_of(graph, MIXED)
    moved = tokens_of(graph, {"nodes": [NODES[i] for i in order], "links": LINKS})
    torch.testing.assert_close(moved[:6], x[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[6:], x[6:], rtol=0, atol=1e-5)
    renamed = [{**node, "id": f"node {node['id']}"} for node in NODES]
    links = [{**e, "source": f"node {e['source']}", "target": f"node {e['target']}"} for e in LINKS]
    assert torch.equal(tokens_of(graph, {"nodes": renamed, "links": links}), x)


def test_the_order_of_an_undirected_edges_ends_means_nothing_and_of_a_directed_ones_does():
    graph = Graph(32).eval()
    turned = [{**link, "source": link["target"], "target": link["source"]} for link in LINKS]
    assert torch.equal(tokens_of(graph, {"nodes": NODES, "links": turned}), tokens_of(graph, MIXED))
    directed = {"nodes": NODES, "directed": True}
    assert not torch.equal(
        tokens_of(graph, {**directed, "links": turned}), tokens_of(graph, {**directed, "links": LINKS})
    )


def test_an_edge_listed_in_both_directions_is_one_token():
    graph = Graph(16)
    once = graph.read({"num_nodes": 3, "edge_index": [[0, 1, 1, 2], [1, 0, 2, 1]], "edge_attr": [[5], [5], [6], [6]]})
    assert (once.cost, once.record.directed, once.record.size) == (5, False, (3, 2))
    unlike = graph.read({"num_nodes": 3, "edge_index": [[0, 1, 1, 2], [1, 0, 2, 1]], "edge_attr": [[5], [7], [6], [6]]})
    assert (unlike.cost, unlike.record.directed) == (7, True)
    one_way = graph.read({"edge_index": torch.tensor([[0, 1], [1, 2]])})
    assert (one_way.cost, one_way.record.directed) == (5, True)


def test_identifiers_are_orthonormal_and_an_edge_has_those_of_its_ends():
    for identifiers in ("laplacian", "random"):
        graph = Graph(16, identifiers=identifiers)
        sample = graph.read(MIXED)
        own = sample.data[:6, 48:80].double()
        torch.testing.assert_close(own @ own.mT, torch.eye(6).double(), rtol=0, atol=1e-6)
        assert torch.equal(sample.data[:6, 48:80], sample.data[:6, 80:112])
        for cell, (a, b) in zip(sample.data[6:], sample.record.edges, strict=True):
            assert torch.equal(cell[48:112], torch.cat([sample.data[a, 48:80], sample.data[b, 48:80]]))


@pytest.mark.parametrize("identifiers", ["laplacian", "random"])
def test_edges_come_back_from_the_tokens(identifiers):
    graph = Graph(128, identifiers=identifiers).eval()
    directed = networkx.gnp_random_graph(30, 0.15, seed=1, directed=True)
    assert edges_of(graph, directed) == list(directed.edges)
    undirected = networkx.gnm_random_graph(32, 60, seed=2)
    found = {frozenset(edge) for edge in edges_of(graph, undirected)}
    assert found == {frozenset(edge) for edge in undirected.edges}


def test_training_turns_identifiers_and_keeps_their_inner_products():
    for identifiers in ("laplacian", "random"):
        graph = Graph(128, identifiers=identifiers).train()
        batch = graph.collate([graph.read(MIXED)])
        first, second = (graph.detokenize(graph(batch)).data[0] for _ in range(2))
        assert not torch.allclose(first, second, atol=1e-3)
        for cells in (first, second):
            torch.testing.assert_close(cells[:, :48], batch.data[0][:, :48], rtol=0, atol=1e-4)
            own = cells[:, 48:112].unflatten(1, (2, 32)).flatten(0, 1)
            given = batch.data[0][:, 48:112].unflatten(1, (2, 32)).flatten(0, 1)
            torch.testing.assert_close(own @ own.mT, given @ given.mT, rtol=0, atol=1e-4)
        assert torch.equal(graph.eval()(batch).x, graph(batch).x)


def test_attributes_of_other_nodes_have_no_influence():
    graph = Graph(16).eval()
    changed = [*NODES[:5], {**NODES[5], "mass": 99.0, "new": [1.0, None, True]}]
    x, y = tokens_of(graph, MIXED), tokens_of(graph, {"nodes": changed, "links": LINKS})
    assert torch.equal(x[:5], y[:5])
    assert torch.equal(x[6:], y[6:])
    assert not torch.equal(x[5], y[5])


def test_of_a_large_graph_a_neighbourhood_is_taken_and_named():
    large = networkx.barabasi_albert_graph(2000, 3, seed=0)
    record = Graph(16).read(large).record
    assert record.size == (2000, large.number_of_edges())
    assert 450 <= len(record.names) + len(record.edges) <= 512
    part = large.subgraph(record.names)
    assert networkx.is_connected(part)
    assert part.number_of_edges() == len(record.edges)
    assert record.names[0] == max(large, key=large.degree)
    star = Graph(16, most=21).read(networkx.star_graph(100)).record
    assert (len(star.names), len(star.edges)) == (11, 10)
    apart = Graph(16, most=4).read({"nodes": 10, "edges": []}).record
    assert apart.names == (0, 1, 2, 3)


def test_a_huge_graph_is_refused_with_its_size():
    with pytest.raises(InputError, match="has 11 nodes and 10 edges; give a part with at most 20"):
        Graph(16, limit=20).read(networkx.star_graph(10))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"identifiers": "names"}, "identifiers must be one of laplacian, random"),
        ({"buckets": 7, "hashes": 2}, "buckets must be"),
        ({"width": 0}, "must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Graph(16, **settings)


def test_there_is_no_way_back_below_the_width_of_a_cell():
    graph = Graph(64)
    with pytest.raises(ValueError, match="not invertible"):
        graph.detokenize(graph(graph.collate([graph.read(MIXED)])))


def test_a_batch_has_at_least_one_graph():
    with pytest.raises(ValueError, match="samples is empty"):
        Graph(16).collate([])


def test_real_molecules_come_back_whole(shared_data):
    archive = zipfile.ZipFile(shared_data / "tu_graphs" / "tu_graphs.zip")

    def table(name):
        return np.loadtxt(archive.open(f"MUTAG/MUTAG_{name}.txt"), delimiter=",", dtype=int)

    ends, owner, atoms, bonds = table("A") - 1, table("graph_indicator"), table("node_labels"), table("edge_labels")
    graph = Graph(128).eval()
    samples, expected = [], []
    for g in range(1, 31):
        first, count = int((owner < g).sum()), int((owner == g).sum())
        own = (owner[ends[:, 0]] == g).nonzero()[0]
        index = (ends[own] - first).T
        nodes = [{"id": i, "element": str(atoms[first + i])} for i in range(count)]
        edges = [[int(a), int(b), {"bond": str(bonds[e])}] for e, a, b in zip(own, *index, strict=True)]
        samples.append(graph.read({"nodes": nodes, "edges": edges}))
        expected.append({frozenset(pair) for pair in index.T.tolist()})
        assert samples[-1].cost == count + len(own) // 2
    batch = graph.detokenize(graph(graph.collate(samples)))
    for sample, cells, edges in zip(samples, batch.data, expected, strict=True):
        assert {frozenset(pair) for pair in sample.record.restore(cells)} == edges
