"""XLA: the conformance of all engines, loops and lists inside one program, training steps, and what it refuses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.engines.base import Held
from coldframe.formats import messages
from coldframe.graph.convert import from_graph_def
from coldframe.runtime.session import Session
from engines_conformance import EngineConformance
from graphs import Case, case, same, tf1

X = np.random.default_rng(0).normal(size=(2, 3)).astype("f")


class TestXla(EngineConformance):
    engine = "xla"


def whole(session: Session) -> bool:
    """Whether each plan so far is one compiled step."""
    return all([s["engine"] for s in plan] == ["xla"] for plan in session.report())


def answers(c: Case, *, one_program: bool = True) -> Session:
    """Assert TensorFlow's answers, each from one program of the whole graph."""
    session = Session(c.graph, "xla")
    for feeds, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), want)
    assert whole(session) is one_program, session.report()
    return session


def test_a_loop_whose_end_depends_on_a_value() -> None:
    def build() -> Any:
        x, n = tf1.placeholder(tf.float32, [None, 3], name="x"), tf1.placeholder(tf.int32, [], name="n")
        return tf.while_loop(lambda i, v: i < n, lambda i, v: (i + 1, tf.tanh(v) * tf.cast(i, tf.float32)), [0, x])

    answers(case(build, *({"x:0": X, "n:0": n} for n in (0, 1, 7)), v2=True))


def test_branches() -> None:
    def build() -> Any:
        x, k = tf1.placeholder(tf.float32, [None, 3], name="x"), tf1.placeholder(tf.int32, [], name="k")
        both = tf.cond(tf.reduce_sum(x) > 0, lambda: (x + 1, tf.reduce_max(x)), lambda: (x * 2, tf.reduce_min(x)))
        return [*both, tf.switch_case(k, [lambda: x, lambda: -x, lambda: x * 3])]

    answers(case(build, *({"x:0": s * X, "k:0": k} for s, k in ((1, 0), (-1, 1), (1, 2), (1, -1), (1, 9))), v2=True))


def powers(end: Any, **limits: Any) -> Any:
    """A loop that goes on while its count is below `end`, and the gradient of it."""
    x = tf1.placeholder(tf.float32, [2, 3], name="x")
    n = tf1.placeholder(tf.int32, [], name="n")
    step = [lambda i, v: i < (n if end is None else end), lambda i, v: (i + 1, tf.sin(v) * v)]
    _, y = tf.while_loop(*step, [0, x], **limits)
    return [y, *tf1.gradients(tf.reduce_sum(y**2), x)]


@pytest.mark.parametrize(("end", "limits"), [(5, {}), (None, {"maximum_iterations": 12})], ids=["counted", "limited"])
def test_the_gradient_of_a_loop_notes_values_in_lists(end: int | None, limits: dict[str, int]) -> None:
    answers(case(lambda: powers(end, **limits), *({"x:0": X, "n:0": n} for n in (5, 12)), v2=True))


def test_how_long_a_list_gets_must_be_bounded() -> None:
    session = answers(case(lambda: powers(None), {"x:0": X, "n:0": 3}, v2=True), one_program=False)
    assert any("how long a list gets" in s["reason"] for plan in session.report() for s in plan)


def test_tensor_arrays() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 3], name="x")
        rows = tf.TensorArray(tf.float32, tf.shape(x)[0]).unstack(x)
        out = tf.TensorArray(tf.float32, tf.shape(x)[0], element_shape=[3])
        _, total, out = tf.while_loop(
            lambda i, t, o: i < tf.shape(x)[0],
            lambda i, t, o: (i + 1, t + rows.read(i), o.write(i, t * rows.read(i))),
            [0, tf.zeros([3]), out],
        )
        stacked = out.stack()
        return [total, stacked, *tf1.gradients(tf.reduce_sum(stacked**2), x)]

    answers(case(build, {"x:0": X}, {"x:0": np.concatenate([X, X])}, v2=True))


@dataclasses.dataclass
class Training:
    """A graph, the variables' values at first, and what TensorFlow's first three runs gave."""

    case: Case
    start: dict[str, Any]


def training(build: Any, feeds: dict[str, Any]) -> Training:
    graph = tf.Graph()
    with graph.as_default():
        tf1.enable_control_flow_v2()
        try:
            fetches = tf.nest.flatten(build())
            with tf1.Session() as session:
                session.run(tf1.global_variables_initializer())
                start = {v.op.name: session.run(v) for v in tf1.global_variables()}
                found = [session.run(fetches, feeds) for _ in range(3)]
        finally:
            tf1.disable_control_flow_v2()
    made = from_graph_def(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in a test"))
    return Training(Case(made, [f.name for f in fetches], [feeds] * 3, found), start)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("lengths", [False, True], ids=["whole", "lengths"])
def test_a_training_step_of_an_lstm_is_one_program(lengths: bool) -> None:
    from tensorflow.python.keras.layers.legacy_rnn import rnn_cell_impl as cells
    from tensorflow.python.ops import rnn

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 6, 4], name="x")
        n = tf1.placeholder(tf.int32, [None], name="n")
        stack = cells.MultiRNNCell([cells.BasicLSTMCell(5), cells.BasicLSTMCell(3)])
        out, _ = rnn.dynamic_rnn(stack, x, dtype=tf.float32, sequence_length=n if lengths else None)
        loss = tf.reduce_mean(out**2)
        return [loss, tf1.train.AdamOptimizer(0.1).minimize(loss)]

    feeds = {"x:0": np.random.default_rng(1).normal(size=(3, 6, 4)).astype("f"), "n:0": np.array([6, 2, 0], "i4")}
    t = training(build, feeds)
    session = Session(t.case.graph, "xla")
    session.set_variables(t.start)
    got = [session.run(t.case.fetches, feeds)[0] for _ in range(3)]
    same(got, [a[0] for a in t.case.answers], tol=1e-4)
    assert len({float(g) for g in got}) == 3, "the step changes the variables"
    assert whole(session), session.report()


def test_numpy_tells_what_broke_a_promise_in_a_loop() -> None:
    def build() -> Any:
        x, n = tf1.placeholder(tf.int32, [3], name="x"), tf1.placeholder(tf.int32, [], name="n")
        return tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t + tf.gather(x, i, name="look")), [0, 0])

    c = case(build, {"x:0": np.arange(3), "n:0": 3}, v2=True)
    session = answers(c)
    with pytest.raises(cf.ExecutionError, match=r"out of range .*`look` \(GatherV2\)"):
        session.run(c.fetches, {"x:0": np.arange(3), "n:0": 4})
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])


def test_assertions_are_compiled_and_tell_what_failed() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None], name="x")
        with tf.control_dependencies([tf1.Assert(tf.reduce_all(x > 0), ["not positive:", x])]):
            return [tf.sqrt(x)]

    c = case(build, {"x:0": [1.0, 4.0]}, v2=True)
    session = answers(c)
    with pytest.raises(cf.ExecutionError, match=r"assertion failed.*not positive:.*-1"):
        session.run(c.fetches, {"x:0": [-1.0]})


def test_a_variable_never_shares_memory_with_what_was_fed() -> None:
    def build() -> Any:
        v = tf1.get_variable("v", [1000], use_resource=True)
        x = tf1.placeholder(tf.float32, [1000], name="x")
        with tf.control_dependencies([v.assign(x)]):
            return [v.read_value()]

    c = case(build, {"x:0": np.zeros(1000)})
    fed = np.arange(1000, dtype="f")
    session = Session(c.graph, "xla")
    session.set_variables({"v": np.zeros(1000, "f")})
    [first] = session.run(c.fetches, {"x:0": fed})
    fed[:], first[:] = -1, -2
    np.testing.assert_array_equal(session.run("v/Read/ReadVariableOp:0"), np.arange(1000))


def test_variables_stay_on_the_device_until_they_are_read() -> None:
    def build() -> Any:
        v = tf1.get_variable("v", [10], use_resource=True)
        w = tf1.get_variable("w", [5000], use_resource=True)
        with tf.control_dependencies([v.assign_add(v * 2.0), w.assign_add(w + v[0])]):
            return [tf1.identity(v.read_value()[0], name="out")]

    c = case(build, {})
    session = Session(c.graph, "xla")
    session.set_variables({"v": np.ones(10, "f"), "w": np.ones(5000, "f")})
    assert [session.run("out:0") for _ in range(3)] == [3, 9, 27]
    assert all(isinstance(session.state.variables[name], Held) for name in "vw")
    kept = session.state.value("w")
    before = kept.copy()
    for _ in range(3):
        session.run("out:0")
    np.testing.assert_array_equal(kept, before)
    np.testing.assert_array_equal(session.run("v/Read/ReadVariableOp:0"), np.full(10, 729))
    session.set_variables({"v": np.ones(10, "f")})
    assert session.run("out:0") == 3


def test_large_constants_are_handed_over() -> None:
    table = np.random.default_rng(0).normal(size=(500, 100)).astype("f")

    def build() -> Any:
        x = tf1.placeholder(tf.int32, [None], name="x")
        return [tf.gather(tf.transpose(tf.transpose(table)), x), tf.reduce_sum(tf.fill([200, 100], 2.0) * 1.5)]

    answers(case(build, {"x:0": [3, 499]}, {"x:0": [0]}))


def test_without_jax_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import coldframe as cf\n"
        "from coldframe.engines.xla import XlaEngine\n"
        "try:\n    XlaEngine()\nexcept cf.ColdframeError as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'coldframe[xla]'" in done.stdout


def test_nobody_else_loads_jax() -> None:
    code = (
        "import sys\n"
        "from coldframe.graph.ir import Graph\n"
        "from coldframe.runtime.session import Session\n"
        "Session(Graph(), 'onnxruntime').run([])\n"
        "assert 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
