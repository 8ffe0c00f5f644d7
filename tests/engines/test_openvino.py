"""OpenVINO: the conformance of all engines, what it gets, and that what it would compute otherwise goes elsewhere."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.engines import openvino
from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from engines_conformance import EngineConformance
from graph_builder import const, graph, node, placeholder
from graphs import case, same, tf1
from openvino_harness import check, tried
from xla_harness import Held, all_tests

TESTS = list(all_tests(check, tried))
RNG = np.random.default_rng(0)


class TestOpenVino(EngineConformance):
    engine = "openvino"


@pytest.mark.parametrize("test", TESTS[:: max(len(TESTS) // 150, 1)], ids=str)
def test_a_sample_of_ops_is_right_or_refused(test: Held) -> None:
    test.run(test.row)


@pytest.mark.slow
@pytest.mark.parametrize("test", TESTS, ids=str)
def test_every_op_is_right_or_refused(test: Held) -> None:
    test.run(test.row)


def parts(session: Session) -> list[tuple[str, str]]:
    return [(s["engine"], s["reason"]) for plan in session.report() for s in plan]


def convolutions(width: int) -> Any:
    """Four layers over images of 32x32 pixels: width² · 36 864 multiplications, and a few more."""

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 32, 32, width], name="x")
        for i in range(4):
            w = np.random.default_rng(i).normal(size=(3, 3, width, width)).astype("f") / (3 * width**0.5)
            x = tf.nn.relu(tf.nn.conv2d(x, w, 1, "SAME") + 0.1)
        return [tf.nn.softmax(tf.reduce_mean(x, [1, 2]))]

    return build


def test_auto_gives_it_dense_work_alone() -> None:
    for width, engine in ((64, "openvino"), (8, "onnxruntime")):
        feeds = [{"x:0": RNG.normal(size=(n, 32, 32, width)).astype("f")} for n in (1, 3, 1)]
        c = case(convolutions(width), *feeds)
        session = Session(c.graph)
        for feed, want in zip(c.feeds, c.answers, strict=True):
            same(session.run(c.fetches, feed), want)
        assert parts(session) == [(engine, "")], width


def test_the_first_sizes_have_a_program_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All others share a second one, made when they come."""
    made: list[dict[str, tuple[int, ...]]] = []
    compile_ = openvino._compiled

    def noted(model: bytes, weights: Any, options: Any, sizes: Any) -> Any:
        made.append(dict(sizes))
        return compile_(model, weights, options, sizes)

    monkeypatch.setattr(openvino, "_compiled", noted)
    c = case(convolutions(64), *({"x:0": RNG.normal(size=(n, 32, 32, 64)).astype("f")} for n in (2, 2, 1, 2, 5, 1)))
    session = Session(c.graph)
    counts = []
    for feed, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feed), want)
        counts.append(len(made))
    assert counts == [1, 1, 2, 2, 2, 2]
    assert [[*sizes.values()] for sizes in made] == [[(2, 32, 32, 64)], []]


def test_other_sizes_go_to_onnx_runtime_where_openvino_takes_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compile_ = openvino._compiled

    def failing(model: bytes, weights: Any, options: Any, sizes: Any) -> Any:
        if not sizes:
            raise RuntimeError("no open sizes")
        return compile_(model, weights, options, sizes)

    monkeypatch.setattr(openvino, "_compiled", failing)
    c = case(convolutions(64), *({"x:0": RNG.normal(size=(n, 32, 32, 64)).astype("f")} for n in (1, 3, 2, 1)))
    session = Session(c.graph)
    for feed, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feed), want)
    assert [r.getMessage()[:30] for r in caplog.records] == ["OpenVINO takes no other sizes "]


@pytest.mark.parametrize(("spin", "engine"), [(True, "openvino"), (False, "onnxruntime")])
def test_auto_keeps_depthwise_convolutions_where_threads_sleep(spin: bool, engine: str) -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 64, 64, 256], name="x")
        x = tf.nn.depthwise_conv2d(x, tf.ones([3, 3, 256, 1]), [1, 1, 1, 1], "SAME")
        return [tf.nn.conv2d(x, tf.ones([1, 1, 256, 256]), 1, "SAME")]

    c = case(build, {"x:0": np.ones((1, 64, 64, 256), "f")})
    session = Session(c.graph, spin=spin)
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    assert parts(session) == [(engine, "")]


def test_auto_keeps_weights_that_change() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 1, 128, 1024], name="x")
        return [tf.matmul(x, tf1.placeholder(tf.float32, [1, 1, 1024, 1024], name="w"))]

    c = case(build, {"x:0": np.ones((1, 1, 128, 1024), "f"), "w:0": np.ones((1, 1, 1024, 1024), "f")})
    session = Session(c.graph)
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    assert parts(session) == [("onnxruntime", "")]


def test_rows_of_many_examples_count_as_work() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 128, 256], name="x")
        y = tf.reshape(x, [-1, 256])
        for i in range(16):
            w = np.random.default_rng(i).normal(size=(256, 256)).astype("f") / 16
            y = tf.tanh(y @ w)
        return [tf.reshape(y, [-1, 128, 256])]

    c = case(build, {"x:0": RNG.normal(size=(2, 128, 256)).astype("f")})
    session = Session(c.graph)
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    assert parts(session) == [("openvino", "")]


def rows(dtype: Any) -> Session:
    nodes = [
        const("table", np.arange(12, dtype=np.float32).reshape(4, 3)),
        const("axis", np.int32(0)),
        placeholder("x", dtype),
        node("y = GatherV2(table, x, axis)", Tparams=dtypes.float32, Tindices=dtype, Taxis=dtypes.int32),
        node("z = Mul(y, y)", T=dtypes.float32),
    ]
    return Session(graph(nodes), engine="openvino")


@pytest.mark.parametrize(("dtype", "beyond"), [(dtypes.int32, 4), (dtypes.int64, 2**32), (dtypes.int64, -1)])
def test_an_index_out_of_range_is_refused_as_on_numpy(dtype: Any, beyond: int) -> None:
    session = rows(dtype)
    good = np.array([[0, 3], [2, 2]], dtype.numpy)
    for _ in range(2):
        want = np.arange(12, dtype=np.float32).reshape(4, 3)[good] ** 2
        np.testing.assert_array_equal(session.run("z:0", {"x": good}), want)
        assert parts(session) == [("openvino", "")]
        with pytest.raises(ExecutionError, match="y"):
            session.run("z:0", {"x": np.array([[0, beyond]], dtype.numpy)})
        session = rows(dtype)


def elementwise(op: str, dtype: Any = dtypes.float32) -> Session:
    return Session(graph([placeholder("x", dtype), node(f"y = {op}(x)", T=dtype)]), engine="openvino")


def test_what_is_not_finite_or_has_no_elements_goes_to_onnx_runtime() -> None:
    session = elementwise("Relu")
    for x in ([1, -2], [np.nan, 1], [np.inf, -np.inf], []):
        feed = np.array(x, np.float32)
        np.testing.assert_array_equal(session.run("y:0", {"x": feed}), np.where(feed < 0, 0, feed))
    assert parts(session) == [("openvino", "")]


@pytest.mark.parametrize(
    ("op", "dtype", "reason"),
    [
        ("Square", dtypes.float64, "Mul on float64 is not among what it gets"),
        ("Neg", dtypes.int64, "Neg on int64 is not among what it gets"),
        ("Round", dtypes.float32, "Round is not among what it gets"),
    ],
)
def test_the_report_says_why_onnx_runtime_runs_something(op: str, dtype: Any, reason: str) -> None:
    session = elementwise(op, dtype)
    session.run("y:0", {"x": np.array([1, 2], dtype.numpy)})
    assert parts(session) == [("onnxruntime", f"not for OpenVINO: {reason}")]


def test_sums_of_many_numbers_stay_accurate() -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 5000], name="x")
        return [tf.reduce_sum(x, 1)]

    c = case(build, {"x:0": RNG.uniform(-3, 3, (2, 5000)).astype("f")})
    session = Session(c.graph, "openvino")
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    ((engine, reason),) = parts(session)
    assert engine == "onnxruntime"
    assert "sums of many numbers" in reason


def test_threads_run_one_model_and_results_stay() -> None:
    c = case(convolutions(8), {"x:0": np.zeros((1, 32, 32, 8), "f")})
    session = Session(c.graph, "openvino", threads=2)
    feeds = [np.full((1, 32, 32, 8), i, "f") for i in range(4)]
    want = [session.run(c.fetches, {"x:0": f})[0] for f in feeds]
    again = [w.copy() for w in want]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            got = pool.map(lambda f: session.run(c.fetches, {"x:0": f})[0], feeds)
            for g, w in zip(got, want, strict=True):
                np.testing.assert_array_equal(g, w)
    for a, w in zip(again, want, strict=True):
        np.testing.assert_array_equal(a, w)


def test_without_openvino_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "import coldframe as cf\n"
        "from coldframe.engines.openvino import OpenVinoEngine\n"
        "try:\n    OpenVinoEngine()\nexcept cf.ColdframeError as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'coldframe[openvino]'" in done.stdout


def test_small_graphs_do_not_load_it() -> None:
    code = (
        "import sys\n"
        "import coldframe.tf1 as tf\n"
        "x = tf.placeholder(tf.float32, [None, 3])\n"
        "with tf.Session() as session:\n"
        "    session.run(tf.nn.softmax(x @ tf.ones([3, 4])), {x: [[1, 2, 3]]})\n"
        "assert 'onnxruntime' in sys.modules\n"
        "assert 'openvino' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_it_is_loaded_without_what_reports_imports() -> None:
    code = (
        "import os, sys\n"
        "os.register_at_fork(before=lambda: os._exit(3))\n"
        "import numpy as np\n"
        "import coldframe.tf1 as tf\n"
        "x = tf.placeholder(tf.float32, [None, 3])\n"
        "with tf.Session(engine='openvino') as session:\n"
        "    session.run(tf.nn.softmax(x @ tf.ones([3, 4])), {x: [[1, 2, 3]]})\n"
        "import openvino\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "assert not hasattr(openvino, 'nothing')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
