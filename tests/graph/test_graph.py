"""The IR: graphs, walking them, and GraphDefs to and fro."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from coldframe.errors import CorruptError, GraphError, NotFoundError
from coldframe.formats import messages
from coldframe.formats.graph_def import load_graph_like
from coldframe.graph.convert import from_graph_def, to_graph_def
from coldframe.graph.ir import Graph, Node, substitute
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import consumers, needed, topological
from coldframe.graph.values import AttrPlaceholder, FuncRef, TensorValue
from fixtures_data import fixtures
from shared_data import model_files

R = TensorRef


def diamond() -> Graph:
    return Graph(
        [
            Node("out", "Add", [R("left"), R("right")]),
            Node("left", "Neg", [R("x")]),
            Node("right", "Neg", [R("x")], ["start"]),
            Node("x", "Placeholder"),
            Node("start", "NoOp"),
            Node("unused", "Neg", [R("out")]),
        ]
    )


def test_needed_stops_at_feeds() -> None:
    g = diamond()
    assert needed(g, ["out"]) == {"out", "left", "right", "x", "start"}
    assert needed(g, ["out"], {R("left")}) == {"out", "right", "x", "start"}
    assert needed(g, ["left"], {R("x")}) == {"left"}
    assert needed(g, ["right"], {R("x"), R("start")}) == {"right"}, "a fed node counts as run"


def test_topological_order_keeps_the_files_order_where_it_can() -> None:
    g = diamond()
    assert [n.name for n in topological(g.nodes)] == ["x", "left", "start", "right", "out", "unused"]


def test_a_cycle_is_named() -> None:
    g = diamond()
    g["x"].inputs.append(R("out"))
    with pytest.raises(GraphError, match=r"the graph has a cycle through `\w+` <- "):
        topological(g.nodes)
    back_edge = topological(g.nodes, ignore=lambda node, ref: ref.node == "out" and node.name == "x")
    assert len(back_edge) == len(g)


def test_dangling_inputs_are_named_with_near_names() -> None:
    g = diamond()
    g["left"].inputs[0] = R("y")
    g.add(Node("yy", "NoOp"))
    with pytest.raises(GraphError, match=r"input `y:0` of node `left` \(Neg\) names no node of the graph"):
        needed(g, ["out"])


def test_consumers() -> None:
    readers = consumers(diamond())
    assert [n.name for n in readers[R("x")]] == ["left", "right"]


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(GraphError, match=r"two nodes are called `x` \(Neg, NoOp\)|two nodes are called `x`"):
        Graph([Node("x", "Neg"), Node("x", "NoOp")])


def test_copies_do_not_share_nodes() -> None:
    g = diamond()
    copy = g.copy()
    copy["left"].inputs.append(R("x"))
    assert len(g["left"].inputs) == 1
    assert g.unique_name("x") == "x_1"
    assert g.unique_name("new") == "new"
    assert "out = Add(left:0, right:0)" in repr(g["out"])
    with pytest.raises(NotFoundError, match="did you mean"):
        g.function("f") if g.functions else g["lef"]


def test_placeholders_of_functions_are_substituted_everywhere() -> None:
    value = (AttrPlaceholder("T"), FuncRef("f", {"S": AttrPlaceholder("T")}), 3)
    assert substitute(value, {"T": True}) == (True, FuncRef("f", {"S": True}), 3)
    with pytest.raises(GraphError, match="uses the attribute `T`, which its caller does not give"):
        substitute(AttrPlaceholder("T"), {})


def _graph_defs() -> list[Any]:
    paths = [f.path for f in fixtures(kind="graph")] + [f.path for f in fixtures(kind="saved_model")]
    paths += [p for name in ("**/*graph*.pb", "**/saved_model.pb", "**/*.meta") for p in model_files(name)][:60]
    return [pytest.param(p, id=str(p)[-60:]) for p in paths if "fuzz_generated" not in str(p)]


@pytest.mark.parametrize("path", _graph_defs())
def test_a_graph_def_comes_back_as_it_was(path: Any) -> None:
    _, message = load_graph_like(path)
    protos = [m.graph_def for m in getattr(message, "meta_graphs", [])] or [getattr(message, "graph_def", message)]
    for proto in protos:
        back = to_graph_def(from_graph_def(proto))
        assert list(back.node) == list(proto.node)
        for a, b in zip(back.library.function, proto.library.function, strict=True):
            assert (list(a.node_def), dict(a.ret), a.signature) == (list(b.node_def), dict(b.ret), b.signature)
            assert dict(a.control_ret) == dict(b.control_ret)


def test_functions_are_converted_when_asked_for() -> None:
    @tf.function
    def f(x: Any) -> Any:
        top, _ = tf.math.top_k(x, 2)
        return tf.split(top, 2)[1]

    concrete = f.get_concrete_function(tf.TensorSpec([4], tf.float32))
    proto = messages.parse("GraphDef", concrete.graph.as_graph_def().SerializeToString(), where="")
    g = from_graph_def(proto)
    assert R("split", 1) in {r for n in g for r in n.inputs}

    outer = tf.Graph()
    with outer.as_default():
        f(tf.zeros([4]))
    g = from_graph_def(messages.parse("GraphDef", outer.as_graph_def().SerializeToString(), where=""))
    [name] = g.functions
    body = g.function(name)
    assert R("split", 1) in {r for n in body.body for r in n.inputs}, "output `output` item 1 is slot 1"
    assert [a.dtype.name for a in body.args] == ["float32"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.node_def[-1].input.__setitem__(0, "nowhere:out:0"), "names `nowhere`, which is no node"),
        (lambda f: f.node_def[-1].input.__setitem__(0, f"{f.node_def[0].name}:no_such:0"), "names no output"),
        (lambda f: f.ret.clear(), "a result has no source"),
    ],
)
def test_damaged_functions_are_refused(change: Any, message: str) -> None:
    @tf.function
    def f(x: Any) -> Any:
        return tf.nn.relu(x * 2.0)

    outer = tf.Graph()
    with outer.as_default():
        f(tf.zeros([4]))
    proto = messages.parse("GraphDef", outer.as_graph_def().SerializeToString(), where="")
    change(proto.library.function[0])
    g = from_graph_def(proto)
    with pytest.raises(CorruptError, match=message):
        g.function(next(iter(g.functions)))


def test_a_constant_is_decoded_when_asked_for() -> None:
    proto = messages.GraphDef()
    node = proto.node.add(name="c", op="Const")
    node.attr["value"].tensor.dtype = 1
    node.attr["value"].tensor.tensor_shape.dim.add(size=3)
    node.attr["value"].tensor.tensor_content = b"\0" * 7
    value = from_graph_def(proto, where="in x.pb")["c"].attrs["value"]
    assert isinstance(value, TensorValue)
    assert str(value) == "TensorValue(float32[3])"
    with pytest.raises(
        CorruptError, match=r"attribute `value` of node `c` \(Const\) in x.pb: expected 12 bytes, found 7"
    ):
        _ = value.array
