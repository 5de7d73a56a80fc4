"""The tokenizer ``graph``: TokenGT's equation, order that means nothing, the way back, and graphs as they come."""

import json
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


WRONG_TYPE = b"""<graphml><key id='m' attr.name='m' attr.type='double'/>
<graph><node id='a'><data key='m'>x</data></node></graph></graphml>"""
FORMS = networkx.Graph([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])


def forms(folder) -> dict:
    """One graph in every form, as networkx and other programs write it."""
    networkx.write_graphml(FORMS, folder / "g.graphml")
    networkx.write_gml(FORMS, folder / "g.gml")
    networkx.write_edgelist(FORMS, folder / "g.edgelist")
    networkx.write_edgelist(FORMS, folder / "g.edges", data=False, delimiter=",")
    (folder / "node_link.json").write_text(json.dumps(networkx.node_link_data(FORMS, edges="links")))
    (folder / "adjacency.json").write_text(json.dumps(networkx.adjacency_data(FORMS)), encoding="utf-8-sig")
    (folder / "cytoscape.json").write_text(json.dumps(networkx.cytoscape_data(FORMS)))
    (folder / "neighbours.json").write_text(json.dumps({n: list(FORMS[n]) for n in FORMS}))
    listed = [list(edge) for edge in FORMS.edges]
    (folder / "pairs.json").write_text(json.dumps({"nodes": list(FORMS), "edges": listed}))
    (folder / "headed.edges").write_text("source\ttarget\n# a comment\n" + "".join(f"{a}\t{b}\r\n" for a, b in listed))
    return {path.name: path for path in folder.iterdir()}


def test_every_form_of_a_graph_gives_the_same_edges(tmp_path):
    graph = Graph(128).eval()
    expected = {frozenset(edge) for edge in FORMS.edges}
    sources = [
        FORMS,
        *forms(tmp_path).values(),
        (tmp_path / "g.graphml").read_bytes(),
        (tmp_path / "g.gml").read_bytes(),
    ]
    for source in sources:
        record = graph.read(source).record
        assert not record.directed
        names = dict(zip(record.names, FORMS, strict=True))  # GML numbers its nodes
        assert {frozenset(names[n] for n in edge) for edge in edges_of(graph, source)} == expected, source
    with (tmp_path / "g.gml").open("rb") as file:
        assert graph.read(file).record.size == (4, 4)
    matrix = networkx.to_numpy_array(FORMS)
    for source in (
        matrix,
        matrix.tolist(),
        {"adjacency": matrix.tolist()},
        {i: list(np.flatnonzero(r)) for i, r in enumerate(matrix)},
    ):
        assert len(edges_of(graph, source)) == 4


def test_a_graph_as_yed_draws_it_keeps_its_edges_and_its_plain_data():
    content = b"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:y="http://www.yworks.com/xml/graphml">
  <key for="node" id="d6" yfiles.type="nodegraphics"/><key attr.name="w" attr.type="double" for="edge" id="d9"/>
  <graph edgedefault="directed" id="G">
    <node id="n0"><data key="d6"><y:ShapeNode><y:Geometry height="30.0"/></y:ShapeNode></data></node>
    <node id="n1"><data key="colour">red</data></node>
    <edge id="e0" source="n0" target="n1"><data key="d9">2.5</data></edge>
  </graph></graphml>"""
    graph = Graph(128).eval()
    plain = {
        "directed": True,
        "nodes": [{"id": "n0"}, {"id": "n1", "colour": "red"}],
        "edges": [["n0", "n1", {"w": 2.5}]],
    }
    assert torch.equal(tokens_of(graph, content), tokens_of(graph, plain))
    assert edges_of(graph, content) == [("n0", "n1")]


def test_attributes_survive_each_form(tmp_path):
    rich = networkx.DiGraph()
    rich.add_node(0, mass=1.5, kind="x", good=True)
    rich.add_node(1, mass=-2.0, kind="y", good=False)
    rich.add_edge(0, 1, weight=0.25)
    networkx.write_graphml(rich, tmp_path / "g.graphml")
    (tmp_path / "g.json").write_text(json.dumps(networkx.node_link_data(rich, edges="edges")))
    graph = Graph(64).eval()
    expected = tokens_of(graph, rich)
    for file in (tmp_path / "g.graphml", tmp_path / "g.json"):
        assert torch.equal(tokens_of(graph, file), expected)
    (tmp_path / "weighted.edges").write_text("0 1 0.25\n")
    directed = {"nodes": [0, 1], "edges": [[0, 1, 0.25]]}
    torch.testing.assert_close(tokens_of(graph, tmp_path / "weighted.edges"), tokens_of(graph, directed))


def test_molecules_are_read_from_smiles_and_files(tmp_path):
    chem = pytest.importorskip("rdkit.Chem")
    graph, aspirin = Graph(128).eval(), "CC(=O)Oc1ccccc1C(=O)O"
    sample = graph.read(aspirin)
    assert sample.record.size == (13, 13)
    (tmp_path / "a.smi").write_text(f"smiles name\n{aspirin} aspirin\n")
    (tmp_path / "a.mol").write_text(chem.MolToMolBlock(chem.MolFromSmiles(aspirin)))
    writer = chem.SDWriter(str(tmp_path / "a.sdf"))
    for smiles in (aspirin, "CCO"):
        writer.write(chem.MolFromSmiles(smiles))
    writer.close()
    for name in ("a.smi", "a.mol", "a.sdf"):
        assert torch.equal(tokens_of(graph, tmp_path / name), tokens_of(graph, aspirin))
    assert graph.read(tmp_path / "a.sdf").record.part == "molecule 1 of 2"
    other_order = chem.MolToSmiles(chem.MolFromSmiles(aspirin), rootedAtAtom=7)
    for columns in (slice(0, 48), slice(112, 114)):
        one, other = (sorted(cells_of(graph, smiles)[:, columns].tolist()) for smiles in (aspirin, other_order))
        np.testing.assert_array_equal(one, other)
    assert not torch.equal(tokens_of(graph, "F/C=C/F"), tokens_of(graph, "F/C=C\\F"))
    assert graph.read("[Na+].[Cl-]").record.size == (2, 0)


def test_a_missing_rdkit_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
    with pytest.raises(ImportError, match=r"rdkit is not installed.*unimodal\[chemistry\]"):
        Graph(16).read("CCO")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("empty.json", b"", "is empty"),
        ("cut.json", b'{"nodes": [1, 2], "edges": [[1,', "damaged JSON"),
        ("deep.json", b"[" * 100_000, "damaged JSON"),
        ("text.json", b'"hello"', "holds a str"),
        ("other.json", b'{"colour": "red"}', "neither nodes nor edges.*colour"),
        ("nan.json", b'{"nodes": [{"id": 0, "x": NaN}], "edges": []}', "attribute 'x' of node 0 is nan"),
        ("far.json", b'{"nodes": [{"id": 0}], "edges": [{"source": 0, "target": 7}]}', "ends at 7, which is no node"),
        ("twice.json", b'{"nodes": [{"id": 0}, {"id": 0}], "edges": []}', "two nodes are called 0"),
        ("none.json", b'{"nodes": [], "edges": []}', "has no nodes"),
        ("ends.json", b'{"nodes": [0, 1], "edges": [{"a": 0, "b": 1}]}', "an edge has no ends"),
        ("list.json", b'{"nodes": [[1], [2]], "edges": []}', "a node is called"),
        ("huge.json", b'{"nodes": 100000000000, "edges": []}', "has 100000000000 nodes"),
        ("rough.json", b"[[0, 1], [1]]", "no square matrix"),
        ("garbage.gml", bytes(range(256)) * 20, "is no text"),
        ("cut.gml", b"graph [\n node [ id 0 ]\n edge [ source 0", "truncated GML"),
        ("bracket.gml", b"graph [ node [ id 0 ] ] ]", "a bracket too many"),
        ("nameless.gml", b"graph [ node [ label 3 ] ]", "a node has no 'id'"),
        ("earth.gml", b"<?xml version='1.0'?><FeatureCollection/>", "not GraphML"),
        ("cut.graphml", b"<graphml><graph><node id='a'/>", "damaged XML"),
        ("bare.graphml", b"<graphml/>", "has no <graph>"),
        (
            "type.graphml",
            WRONG_TYPE,
            "'m' is 'x' and should be of type double",
        ),
        (
            "half.graphml",
            b"<graphml><graph><node id='a'/><edge source='a'/></graph></graphml>",
            "<edge> has no 'target'",
        ),
        ("single.edges", b"a b\nc\n", "line 2 has one word"),
        ("comments.edgelist", b"# nothing\n", "has no nodes"),
        ("bad.smi", b"C1CC( name\n", "no valid SMILES"),
        ("bad.mol", b"\n  x\n\n  9  9  0  0  0\nM  END\n", "MOL file"),
        ("empty.sdf", b" \n", "is empty"),
    ],
)
def test_a_bad_file_is_named_with_its_cause(name, content, message, tmp_path, capfd):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        Graph(16).read(tmp_path / name)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "source, message",
    [
        ("no_such_file", "does not exist, and is no SMILES string"),
        ("missing.json", "missing.json: does not exist"),
        ("C1CC(", "no valid SMILES"),
        ({"edge_index": [[0, 5], [1, 0]], "num_nodes": 3}, "ends at 5, which is no node"),
        ({"edge_index": [[0], [-1]], "num_nodes": 3}, "ends at -1"),
        ({"edge_index": [[0, 1]]}, "edge_index has shape"),
        ({"edge_index": [[0.5], [1.0]]}, "whole numbers"),
        ({"edge_index": [[0], [1]], "x": [[1.0]], "num_nodes": 2}, "contradict one another"),
        ({"edge_index": [[0], [1]], "edge_attr": [[1.0], [2.0]]}, "edge_attr has 2 rows for 1 edges"),
        ({"edge_index": [[0], [10**12]]}, "nodes; give a part"),
        ({"nodes": [{"id": 0, "f": float("inf")}], "edges": []}, "attribute 'f' of node 0 is inf"),
        ({"nodes": [{"id": 0, "f": object()}], "edges": []}, "attribute 'f' of node 0"),
        ({"nodes": [0], "edges": 3}, "'edges' is a int"),
        ({"adjacency": [[0, 1], [1, 0]], "nodes": [1, 2, 3]}, "for 3 nodes is not square"),
        (np.zeros((2, 3)), "is not square"),
        ({}, "neither nodes nor edges"),
        (b"", "is empty"),
        (3.5, "cannot be read as a graph"),
    ],
)
def test_a_bad_source_is_named_with_its_cause(source, message):
    with pytest.raises(InputError, match=message):
        Graph(16).read(source)


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


def test_claims_follow_the_form(tmp_path):
    claims = {name: Graph.claims(path) for name, path in forms(tmp_path).items()}
    assert all(claims[name] >= 0.8 for name in claims if name != "neighbours.json")
    (tmp_path / "other.json").write_text('{"colour": 1}')
    assert Graph.claims(tmp_path / "other.json") < 0.5


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
