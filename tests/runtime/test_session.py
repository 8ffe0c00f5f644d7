"""Sessions: names, structures, feeds, and what they refuse."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe import dtypes
from coldframe.runtime.session import Session
from graph_builder import graph, node, placeholder, run_tf
from graphs import Case, case, same, tf1


def model() -> Any:
    x = tf1.placeholder(tf.float32, [None, 2], name="image")
    flag = tf1.placeholder_with_default(False, [], name="flag")
    y = tf.add(x, 1.0, name="layer/add")
    return [y, tf.cast(flag, tf.int32, name="which"), tf.reduce_sum(y, name="total")]


@pytest.fixture(scope="module")
def made() -> Case:
    return case(model, {"image:0": [[1.0, 2.0]]})


@pytest.fixture
def session(made: Case) -> Session:
    return Session(made.graph)


def test_fetches_keep_their_structure(session: Session, made: Case) -> None:
    pair = collections.namedtuple("pair", "a b")  # noqa: PYI024 - the very type under test
    out = session.run(
        {"y": "layer/add:0", "more": ["total:0", ("which:0",)], "p": pair("total:0", "layer/add")}, made.feeds[0]
    )
    assert list(out) == ["y", "more", "p"]
    assert isinstance(out["more"], list)
    assert isinstance(out["more"][1], tuple)
    assert isinstance(out["p"], pair)
    assert out["p"].b is None, "an op runs and gives None"
    same([out["y"], out["more"][1][0], out["p"].a], made.answers[0])


def test_a_scalar_is_a_numpy_scalar(session: Session, made: Case) -> None:
    total = session.run("total:0", made.feeds[0])
    assert isinstance(total, np.float32)
    assert total == made.answers[0][2]


def test_any_tensor_can_be_fed(session: Session) -> None:
    assert session.run("total:0", {"layer/add:0": [[5.0, 6.0]]}) == 11
    assert session.run("which:0", {"flag:0": True}) == 1
    same([session.run("image:0", {"image:0": [[1.0, 2.0]]})], [np.array([[1, 2]], "f")])


def test_names_are_taken_as_people_write_them(session: Session, made: Case) -> None:
    same([session.run("import/layer/add:0", {"image": [[1, 2]]})], made.answers[0][:1])


@pytest.mark.parametrize(
    ("fetch", "feeds", "error", "text"),
    [
        ("layer/ad:0", {}, cf.NotFoundError, r"no node called `layer/ad`\nhint: did you mean `layer/add`"),
        (
            "layer/add:1",
            {},
            cf.NotFoundError,
            r"tensor `layer/add:1` does not exist: expected an output of AddV2 below 1",
        ),
        ("total:0", {}, cf.FeedError, r"placeholder `image` must be fed: expected float32\[\?, 2\]"),
        (
            "total:0",
            {"image:0": [[1.0]]},
            cf.FeedError,
            r"`image:0` has the wrong shape: expected \['\?', 2\], found \[1, 1\]",
        ),
        ("total:0", {"image:0": [["a"]]}, cf.FeedError, r"`image:0` has the wrong dtype: expected float32, found <U1"),
        ("which:0", {"flag:0": 3}, cf.FeedError, r"`flag:0` has the wrong dtype: expected bool, found int64"),
        ("total:0", {"imag:0": 1}, cf.NotFoundError, r"did you mean `image`"),
        ("^total", {}, cf.NotFoundError, None),
        (3, {}, cf.MisuseError, r"a fetch is a tensor or op name"),
        ("x:y", {}, cf.NotFoundError, r"no node called `x:y`"),
        (["total:0"], {"image:0": [[1.0, 2]], "image": [[1.0, 2]]}, cf.FeedError, r"`image:0` is fed twice"),
    ],
)
def test_refusals(session: Session, fetch: Any, feeds: Any, error: type[Exception], text: str | None) -> None:
    if text is None:  # a control name is an op name
        assert session.run(fetch, {"image:0": [[1.0, 2.0]]}) is None
        return
    with pytest.raises(error, match=text):
        session.run(fetch, feeds)


def test_all_missing_ops_are_named_at_once() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [2, 2], name="x")
        return [tf.raw_ops.Real(input=tf.cast(x, tf.complex64), name="known")]

    made = case(build, {"x:0": np.eye(2, dtype="f")})
    for name, op in (("known", "NoSuchOp"), ("Cast", "AnotherOne")):
        made.graph.nodes[name].op = op
    with pytest.raises(cf.UnsupportedOpError, match=r"AnotherOne \(node `Cast`\), NoSuchOp \(node `known`\)"):
        Session(made.graph).run("known:0", {"x:0": np.eye(2)})


def _inside(name: str, op: str) -> Any:
    """A branch whose function has an op that does not exist, behind a node that would act."""

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [2], name="x")
        seen = tf1.Print(x, [x], name="acts")
        with tf.control_dependencies([seen]):
            return [tf.cond(tf.reduce_sum(x) > 0, lambda: tf.exp(x), lambda: tf.sin(tf.cos(x)), name="choose")]

    made = case(build, {"x:0": np.ones(2, "f")}, v2=True)
    for function in made.graph.functions.values():
        for inner in function.body:
            if inner.op == name:
                inner.op = op
    return made


def test_missing_ops_of_branches_are_named_before_anything_runs(capfd: pytest.CaptureFixture[str]) -> None:
    made = _inside("Cos", "NoSuchOp")
    capfd.readouterr()
    with pytest.raises(cf.UnsupportedOpError, match=r"NoSuchOp \(node `choose_false_\d+/Cos`\)"):
        Session(made.graph).run(made.fetches, made.feeds[0])  # the branch that is taken has it not
    assert capfd.readouterr().err == ""


def test_nodes_with_the_same_missing_op_are_told_together() -> None:
    nodes = [placeholder("x", dtypes.string), *(node(f"n{i} = SdcaFprint(x)") for i in range(3))]
    nodes.append(node("y = AddN(n0, n1, n2)", T=dtypes.int64, N=3))
    with pytest.raises(
        cf.UnsupportedOpError, match=r"SdcaFprint \(3 nodes: `n0`, `n1`, ...\)\nhint: any tensor can be"
    ):
        Session(graph(nodes)).run("y:0", {"x:0": ["a"]})


def test_an_op_of_nobody_says_so() -> None:
    with pytest.raises(cf.UnsupportedOpError, match="it comes from a library of custom ops"):
        Session(graph([placeholder("x"), node("y = Zqwxjk(x)")])).run("y", {"x:0": 1.0})


def test_all_attributes_that_are_not_supported_are_named_at_once() -> None:
    a, b = (node(f"{name} = FIFOQueueV2()", component_types=(dtypes.float32,)) for name in "ab")
    sizes = [node(f"take_{n} = QueueDequeueV2({n})", component_types=(dtypes.float32,), timeout_ms=9) for n in "ab"]
    nodes = [a, b, *sizes, node("y = Add(take_a, take_b)", T=dtypes.float32)]
    with pytest.raises(
        cf.UnsupportedError, match=r"`timeout_ms` is not supported at node `take_a` .*; .* at node `take_b`"
    ):
        Session(graph(nodes)).run("y:0")


def test_attributes_that_ops_lack_are_passed_over_as_tensorflow_does() -> None:
    g = graph([placeholder("x"), node("y = Relu(x)", T=dtypes.float32, brand_new=True, _mine=3)])
    (want,) = run_tf(g, {"x:0": np.array([-1, 2], "f")}, ["y:0"])
    got = Session(g).run("y:0", {"x:0": np.array([-1, 2], "f")})
    assert got.tolist() == want.tolist() == [0, 2]


def test_what_feeds_a_graph_says_what_to_feed_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> Any:
        queue = tf1.FIFOQueue(3, [tf.float32], [[2]])
        data = tf1.data.Dataset.from_tensors(tf.ones([2]))
        iterator = tf1.data.make_initializable_iterator(data)
        taken, following = tf.identity(queue.dequeue(), name="taken"), tf.identity(iterator.get_next(), name="next")
        tf.add(taken, following, name="sum")
        return [tf.constant(0)]

    session = Session(case(build, {}).graph)
    monkeypatch.setattr("threading.active_count", lambda: 1)
    with pytest.raises(cf.ExecutionError, match=r"fifo_queue_Dequeue(.|\n)*or feed what this node hands out"):
        session.run("taken:0")
    with pytest.raises(cf.ExecutionError, match=r"IteratorGetNext(.|\n)*or feed what this node hands out"):
        session.run("next:0")
    ones = np.ones(2, "f")
    assert session.run("sum:0", {"fifo_queue_Dequeue:0": ones, "IteratorGetNext:0": ones}).tolist() == [2, 2]


def test_an_unknown_engine_is_refused(made: Case) -> None:
    with pytest.raises(
        cf.MisuseError, match="no engine is called `gpu`: expected auto or onnxruntime or openvino or xla or reference"
    ):
        Session(made.graph, "gpu")


def test_an_uninitialized_variable_says_so() -> None:
    made = case(lambda: [tf1.get_variable("v", initializer=1.0) + 0.0], {})
    with pytest.raises(cf.ExecutionError, match=r"variable `v` has no value .*\n?hint: restore a checkpoint"):
        Session(made.graph).run(made.fetches)


def test_running_the_initializer_gives_variables_values() -> None:
    def build() -> Any:
        v = tf1.get_variable("v", initializer=[1.0, 2.0])
        w = tf1.get_variable("w", initializer=tf.constant(3), use_resource=True)
        tf1.group(tf1.global_variables_initializer(), name="start")
        return [v * 2.0, w + 1]

    made = case(build, {})
    session = Session(made.graph)
    assert session.run("start") is None
    same(session.run(made.fetches), made.answers[0])


def test_the_report_tells_what_ran_where() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 3], name="x")
        return [tf.strings.as_string(x @ tf.ones([3, 2]), name="text")]

    made = case(build, {"x:0": np.ones((1, 3), "f")})
    session = Session(made.graph, "onnxruntime")
    session.run(made.fetches, made.feeds[0])
    [steps] = session.report()
    assert [s["engine"] for s in steps] == ["onnxruntime", "numpy"]
    assert steps[1]["nodes"] == ["text"]
    assert "string" in steps[1]["reason"]


def test_what_reads_a_constant_waits_for_what_the_constant_waits_for() -> None:
    def build() -> Any:
        v = tf1.get_variable("v", initializer=1.0, use_resource=False)
        with tf.control_dependencies([tf1.assign(v, v * 3.0)]):
            two = tf.constant(2.0)
        with tf.control_dependencies([two]):
            three = tf.constant(3.0)
        return tf1.assign_add(v, three) + 0.0

    c = case(build, {}, {})
    session = Session(c.graph)
    session.set_variables({"v": np.float32(1)})
    for want in c.answers:
        same(session.run(c.fetches), want)


def test_what_depends_on_variables_alone_follows_them() -> None:
    def build() -> Any:
        v = tf1.get_variable("v", initializer=[1.0, 2.0], use_resource=True)
        return [tf.reduce_sum(v.read_value() * 2.0), tf.linalg.matvec(tf.ones([2, 2]), v.read_value())]

    made = case(build, {})
    session = Session(made.graph, "onnxruntime", constant_variables=True)
    session.set_variables({"v": np.array([1.0, 2.0], "f")})
    same(session.run(made.fetches), made.answers[0])
    session.set_variables({"v": np.array([10.0, 20.0], "f")})
    same(session.run(made.fetches), [np.float32(60), np.array([30.0, 30.0], "f")])


@pytest.mark.parametrize("called", [False, True], ids=["plain", "in a function"])
def test_a_fed_placeholder_may_be_waited_for(called: bool) -> None:
    def body(x: Any) -> Any:
        with tf.control_dependencies([x]):
            return tf.constant(3.0) * 2.0

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [], name="x")
        return [tf.function(body)(x) if called else body(x)]

    made = case(build, {"x:0": 1.0})
    same(Session(made.graph).run(made.fetches, {"x:0": 1.0}), made.answers[0])


def test_the_report_tells_when_the_engine_refused_a_run() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, None], name="x")
        return [tf.matmul(x, tf.ones([3, 2]))]

    made = case(build, {"x:0": np.ones((2, 3), "f")})
    session = Session(made.graph, "onnxruntime")
    same(session.run(made.fetches, made.feeds[0]), made.answers[0])
    assert session.report()[0][0]["reason"] == ""
    with pytest.raises(cf.ExecutionError):
        session.run(made.fetches, {"x:0": np.ones((2, 4), "f")})
    assert "MatMul" in session.report()[0][0]["reason"]
