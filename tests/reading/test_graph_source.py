"""Graphs in every form that other programs write, and what is wrong with bad ones."""

import json

import networkx
import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.tokenizers.graph import Graph


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


def test_claims_follow_the_form(tmp_path):
    claims = {name: Graph.claims(path) for name, path in forms(tmp_path).items()}
    assert all(claims[name] >= 0.8 for name in claims if name != "neighbours.json")
    (tmp_path / "other.json").write_text('{"colour": 1}')
    assert Graph.claims(tmp_path / "other.json") < 0.5
