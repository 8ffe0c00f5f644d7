"""Constants, placeholders, identities, ordering, assertions and prints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe import dtypes
from graph_builder import graph, node, placeholder
from graphs import case, same, tf1
from op_harness import COMPLEX, FLOATS, INTS, Row, check, each, rows, sample

IDENTITIES = ("Identity", "StopGradient", "PreventGradient", "GuaranteeConst")


@rows(
    *each(FLOATS + INTS + COMPLEX + ("bool",), lambda d: Row("Identity", [sample(d, 2, 3)])),
    *[Row(name, [sample("float32", 2)]) for name in IDENTITIES],
    Row("Identity", [np.array([b"a", b""], object)]),
    Row("IdentityN", [[sample("float32", 2), sample("int32", 3), np.array([True])]]),
    Row("PlaceholderWithDefault", [sample("float32", 2)], {"shape": [2]}),
)
def test_identities(row: Row) -> None:
    check(row)


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("Copy", {"tensor_name": b"x:0", "debug_ops_spec": (b"DebugIdentity;file:///nowhere;0",)}),
        ("DebugIdentity", {"tensor_name": b"x:0", "debug_urls": (b"file:///nowhere",)}),
        ("DebugIdentityV2", {"tensor_debug_mode": 8, "debug_urls": (b"file:///nowhere",)}),
        ("DebugGradientIdentity", {}),
        ("_HostCast", {"SrcT": dtypes.float32, "DstT": dtypes.float32}),
    ],
)
def test_what_debuggers_and_optimizers_put_in_hands_tensors_on(op: str, attrs: dict[str, Any]) -> None:
    kind = {} if op == "_HostCast" else {"T": dtypes.float32}
    g = graph([placeholder("x"), node(f"y = {op}(x)", **kind, **attrs), node("z = Neg(y)", T=dtypes.float32)])
    assert cf.Session(g).run("z:0", {"x:0": [1.0, 2.0]}).tolist() == [-1, -2]


def test_lists_become_arrays_and_arrays_lists() -> None:
    f = dtypes.float32
    g = graph(
        [
            placeholder("x"),
            node("a = _ListToArray(x, x)", Tin=(f, f), T=f, N=2),
            node("l = _ArrayToList(a, a:1)", T=f, N=2, out_types=(f, f)),
            node("y = Add(l, l:1)", T=f),
        ]
    )
    assert cf.Session(g).run("y:0", {"x:0": [1.0, 2.0]}).tolist() == [2, 4]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS, *COMPLEX, "bool"])
def test_constants_of_every_dtype(dtype: str) -> None:
    value = sample(dtype, 3)
    made = case(lambda: [tf.constant(value), tf.fill([2], tf.constant(value[0]))], {})
    for got, want in zip(cf.Session(made.graph).run(made.fetches), made.answers[0], strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


def asserted() -> Any:
    x = tf1.placeholder(tf.float32, [None], name="x")
    holds = tf1.Assert(tf.reduce_all(x > 0), ["all of", x, "must be positive", tf.constant([1, 2, 3, 4, 5])])
    with tf.control_dependencies([holds]):
        return [tf.identity(x, name="y")]


@pytest.mark.parametrize("engine", ["reference", "onnxruntime"])
def test_an_assertion_shows_its_data(engine: str) -> None:
    c = case(asserted, {"x:0": [1.0, 2.0]})
    session = cf.Session(c.graph, engine)
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    said = r"assertion failed at node `Assert/.*` \(Assert\): found all of; 1.0 -2.0; must be positive; 1 2 3\.\.\."
    with pytest.raises(cf.ExecutionError, match=said):
        session.run(c.fetches, {"x:0": [1.0, -2.0]})


def test_control_dependencies_run_first() -> None:
    def build() -> Any:
        v = tf1.get_variable("v", initializer=1.0, use_resource=True)
        with tf.control_dependencies([v.assign_add(1.0)]), tf.control_dependencies([tf.no_op("pause")]):
            return [v.read_value()]

    c = case(build, {}, {})
    session = cf.Session(c.graph)
    session.set_variables({"v": np.float32(1)})
    for want in c.answers:
        same(session.run(c.fetches), want)


def test_prints_go_to_the_streams_they_name(capsys: pytest.CaptureFixture[str]) -> None:
    def build() -> Any:
        x = tf.constant([1.0, 2.0, 3.0, 4.0])
        old = tf.raw_ops.Print(input=x, data=[x, tf.constant("text")], message="old ", summarize=2)
        out = tf.raw_ops.PrintV2(input=tf.constant("to stdout"), output_stream="stdout", end="!\n")
        err = tf.raw_ops.PrintV2(input=tf.constant("to stderr"), output_stream="stderr", end="\n")
        with tf.control_dependencies([out, err]):
            return [tf.identity(old)]

    c = case(build, {})
    capsys.readouterr()
    same(cf.Session(c.graph).run(c.fetches), c.answers[0])
    said = capsys.readouterr()
    assert said.out == "to stdout!\n"
    assert sorted(said.err.splitlines()) == ["old [1.0 2.0 3.0...][text]", "to stderr"]


def test_a_print_writes_no_file(tmp_path: Any) -> None:
    target = tmp_path / "log"

    def build() -> Any:
        out = tf.raw_ops.PrintV2(input=tf.constant("x"), output_stream=f"file://{target}", end="")
        with tf.control_dependencies([out]):
            return [tf.constant(1) + 0]

    graph = tf.Graph()
    with graph.as_default():
        fetch = build()[0].name
    from coldframe.formats import messages
    from coldframe.graph.convert import from_graph_def

    made = from_graph_def(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where=""))
    with pytest.raises(cf.UnsupportedError, match=r"printing to a file at node `PrintV2`"):
        cf.Session(made).run(fetch)
    assert not target.exists()
